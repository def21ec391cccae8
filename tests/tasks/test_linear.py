"""Linear evaluation as whole commands: what it learns, leaves alone, keeps, goes on with, and refuses."""

import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mindbyol import checkpoint, supervised
from mindbyol.model_card import Card
from mindbyol.weights import read_weights
from mindbyol.weights.export import export
from tests.tasks import classifiers
from tests.tasks.classifiers import LINEAR, lines, train, validate


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Path of a backbone's checkpoint."""
    path = tmp_path_factory.mktemp("backbone") / "tiny-1_1_backbone.ckpt"
    classifiers.write_backbone(path, "tiny")
    return path


@pytest.fixture(scope="module")
def run(backbone, tmp_path_factory):
    """The folder of a run of three epochs of five steps, with a checkpoint each."""
    folder = tmp_path_factory.mktemp("run") / "ckpt"
    train(folder, LINEAR, ckpt_path=backbone, lr_factors="1 0.1", holdout=16, num_samples=176)
    return folder


def test_the_backbone_stays_as_it_is(run, backbone):
    """Weights and running statistics to the bit; gradients and optimizer are for the heads alone."""
    before, _ = checkpoint.read(backbone)
    arrays, card = checkpoint.read(run / "tiny-3_15.ckpt")
    assert checkpoint.digest(checkpoint.online_backbone(arrays)) == checkpoint.digest(before)
    heads = {f"heads.{head}.{leaf}" for head in (0, 1) for leaf in ("weight", "bias")}
    kept = {name for name in arrays if not name.startswith("online.backbone.")}
    assert kept == heads | {f"{state}.{name}" for state in ("accum", "stat") for name in heads} | {
        "global_step",
        "momentum",
    }
    assert (card.kind, card.model, card.mean) == ("linear", "tiny", [127.0] * 3)


def test_scores_on_the_way_and_the_best_weights(run):
    trained, scored = lines(run)
    assert [line["step"] for line in trained] == [5, 10, 15] and [line["epoch"] for line in scored] == [1, 2, 3]
    best = max(scored, key=lambda line: line["val_top1"])
    arrays, card = checkpoint.read(run / "tiny_best.ckpt")
    assert card.epoch == best["epoch"] and card.more["scores"]["top1"] == pytest.approx(best["val_top1"], abs=1e-4)
    assert card.run is None and not any(name.startswith("accum") for name in arrays)
    assert scored[-1]["val_top1"] == max(scored[-1]["val_lr2_top1"], scored[-1]["val_lr0.2_top1"])


def test_validate_scores_the_head_that_held_out_images_chose(run, tmp_path, capsys):
    scores = validate(run / "tiny-3_15.ckpt", LINEAR, tmp_path)
    _, card = checkpoint.read(run / "tiny-3_15.ckpt")
    chosen = card.more["heads"][card.more["chosen"]]
    assert scores["top1"] == scores[f"{chosen}_top1"] and {"lr2_top1", "lr0.2_top5"} <= scores.keys()
    assert "| Model | FPS (CPU x 1) | TOP1 Accuracy |" in capsys.readouterr().out


def test_validate_gives_the_number_of_the_log(backbone, tmp_path):
    train(tmp_path / "run", LINEAR, ckpt_path=backbone, epoch_size=1)
    _, (scored,) = lines(tmp_path / "run")
    found = validate(tmp_path / "run/tiny-1_5.ckpt", LINEAR, tmp_path)
    assert found == {
        name: pytest.approx(scored[f"val_{name}"], abs=1e-4) for name in ("top1", "top5", "mean_per_class")
    }
    assert validate(tmp_path / "run/tiny_best.ckpt", LINEAR, tmp_path) == found


def test_a_run_goes_on_bit_for_bit(run, backbone, tmp_path):
    folder = tmp_path / "again"
    folder.mkdir()
    for name in ("tiny-1_5.ckpt", "metrics.jsonl"):
        shutil.copy(run / name, folder)
    train(folder, LINEAR, "--resume", ckpt_path=backbone, lr_factors="1 0.1", holdout=16, num_samples=176)
    for name in ("tiny-3_15.ckpt", "tiny_best.ckpt"):
        if (folder / name).exists() or name != "tiny_best.ckpt":
            classifiers.assert_same(checkpoint.read(folder / name)[0], checkpoint.read(run / name)[0])
    assert lines(folder)[1] == lines(run)[1]
    losses = [[line["loss"] for line in lines(one)[0]] for one in (folder, run)]
    assert losses[0] == losses[1]


def test_the_best_before_a_stop_is_remembered(run, backbone, tmp_path):
    """The last epoch is not better than the first here, so nothing new is written."""
    folder = tmp_path / "again"
    folder.mkdir()
    arrays, card = checkpoint.read(run / "tiny-2_10.ckpt")
    card.run["log"]["best_score"] = 100.0
    checkpoint.write(folder / "tiny-2_10.ckpt", arrays, card)
    train(folder, LINEAR, "--resume", ckpt_path=backbone, lr_factors="1 0.1", holdout=16, num_samples=176)
    assert not (folder / "tiny_best.ckpt").exists() and (folder / "tiny-3_15.ckpt").exists()


CACHED = {"cache_features": True, "val_while_train": False, "ckpt_save_interval": 1000, "log_interval": 1000}


def test_it_reaches_scikit_learns_optimum(tmp_path):
    """Full batches and a decay: mean CE + decay / 2 |w|^2, whose one minimum LogisticRegression finds by L-BFGS."""
    backbone = tmp_path / "small.ckpt"
    classifiers.write_backbone(backbone, "tiny", factor=2)
    keys = {"num_samples": 128, "batch_size": 128, "epoch_size": 400, "lr": 4, "weight_decay": 0.01}
    train(tmp_path / "run", LINEAR, ckpt_path=backbone, filter_bias_and_bn=True, **{**CACHED, **keys})
    arrays, _ = checkpoint.read(tmp_path / "run/tiny-400_400.ckpt")
    features, labels = features_of(backbone, 128)
    optimum = LogisticRegression(C=1 / (0.01 * 128), tol=1e-10, max_iter=10000).fit(features.astype(np.float64), labels)
    found = features @ arrays["heads.0.weight"].T + arrays["heads.0.bias"]
    expected = optimum.decision_function(features)
    # scikit-learn's biases are free up to a constant for all classes
    found, expected = (logits - logits.mean(1, keepdims=True) for logits in (found, expected))
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(expected).max() > 0.5


def features_of(path, num_samples):
    """Features of training digits and their labels, by the evaluation's own door."""
    from mindbyol.config import parse_args
    from mindbyol.data import source_from_args
    from mindbyol.evaluation.subjects import open_trained
    from mindbyol.evaluation.tools import Tools
    from mindbyol.runtime import World

    keys = ("task", "dataset", "model", "image_resize", "crop_pct", "batch_size")
    recipe = parse_args(classifiers.flags({key: LINEAR[key] for key in keys}))
    source = source_from_args(recipe, "train", num_samples)
    return Tools(recipe, World("CPU")).features(open_trained(recipe, str(path)), source)


def test_cached_features_give_what_images_without_augmentation_give(backbone, tmp_path):
    recipe = {**LINEAR, "scale": None}
    train(tmp_path / "cached", recipe, ckpt_path=backbone, cache_features=True)
    train(tmp_path / "streamed", recipe, ckpt_path=backbone, train_crop="center")
    arrays = [checkpoint.read(tmp_path / run / "tiny-3_15.ckpt")[0] for run in ("cached", "streamed")]
    for name in arrays[0]:
        np.testing.assert_allclose(arrays[0][name], arrays[1][name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert lines(tmp_path / "cached")[1] == lines(tmp_path / "streamed")[1]


@pytest.mark.slow
def test_shuffled_labels_are_scored_as_chance(backbone, tmp_path, monkeypatch):
    opened = supervised.source_from_args

    def shuffled(recipe, split, num_samples=None):
        source = opened(recipe, split, num_samples)
        if split == "train":
            source.labels = np.random.default_rng(0).permutation(source.labels)
        return source

    keys = {"num_samples": 1400, "epoch_size": 20, "ckpt_save_interval": 20, "val_interval": 20, "lr": 1}
    keys.update(cache_features=True, log_interval=1000, scale=None, hflip=None)
    train(tmp_path / "true", LINEAR, ckpt_path=backbone, **keys)
    monkeypatch.setattr(supervised, "source_from_args", shuffled)
    train(tmp_path / "shuffled", LINEAR, ckpt_path=backbone, **keys)
    (true,), (chance,) = lines(tmp_path / "true")[1], lines(tmp_path / "shuffled")[1]
    assert true["val_top1"] > 50 and chance["val_top1"] < 20


@pytest.mark.parametrize(
    "keys, message",
    [
        ({}, "ckpt_path: which backbone is to be scored"),
        ({"ckpt_path": "BACKBONE", "num_classes": 9}, "num_classes: 9 asked for, but .* has 10"),
        ({"ckpt_path": "BACKBONE", "holdout": 160}, "holdout: 160 of .* leave nothing to train on"),
        (
            {"ckpt_path": "BACKBONE", "holdout": 155},
            "holdout: 155 of 160 of .* of 10 classes no image to train on: [0-9]",
        ),
        (
            {"ckpt_path": "BACKBONE", "dataset": "folder"},
            "dataset: folder has no labels to learn; put the images of each",
        ),
        ({"ckpt_path": "BACKBONE", "lr_factors": "1 1"}, "lr_factors: 1.0 1.0 has a number twice"),
        ({"ckpt_path": "BACKBONE", "baselines": True}, "baselines: a classifier belongs to the backbone"),
        ({"ckpt_path": "BACKBONE", "momentum": 0}, "use_nesterov: looks ahead by the momentum, which is 0"),
        ({"ckpt_path": "BACKBONE", "multi_step_decay_milestones": "9 3"}, "multi_step_decay_milestones: 9 3 do not"),
        ({"ckpt_path": "OTHER"}, "online backbone|names its weights like this|not everything matches"),
        ({"ckpt_path": "BACKBONE", "pretrained_from": "BACKBONE"}, "pretrained_from: ckpt_path names weights"),
    ],
)
def test_bad_input_is_one_line(backbone, tmp_path, keys, message):
    other = tmp_path / "other.ckpt"
    checkpoint.write(other, {"projector.weight": np.ones((3, 3), np.float32)}, Card(model="tiny"))
    paths = {"BACKBONE": str(backbone), "OTHER": str(other)}
    keys = {key: paths.get(value, value) for key, value in keys.items()}
    with pytest.raises(SystemExit, match=message) as stop:
        train(tmp_path / "run", LINEAR, **keys)
    assert "\n" not in str(stop.value)


def test_labels_that_cannot_be(backbone, tmp_path, monkeypatch):
    opened = supervised.source_from_args

    def open_with(change):
        def opening(recipe, split, num_samples=None):
            source = opened(recipe, split, num_samples)
            if split == "train":
                change(source)
            return source

        monkeypatch.setattr(supervised, "source_from_args", opening)

    def beyond(source):
        source.labels[7] = 10

    def empty(source):
        source.labels[source.labels == 4] = 5

    def unlike(source):
        source.class_names = [*source.class_names[:9], "ten"]

    for change, message in (
        (beyond, "the label 10 of .* is none of 0 to 9 .1 images have such"),
        (empty, "1 of 10 classes have no image in .*, the first is '4'"),
        (unlike, "the classes of .* are not the same"),
    ):
        open_with(change)
        with pytest.raises(SystemExit, match=message):
            train(tmp_path / "run", LINEAR, ckpt_path=backbone, num_samples=None)


@pytest.mark.parametrize("cached", [True, False])
def test_features_that_are_no_numbers_stop_in_one_line(tmp_path, cached, capsys):
    classifiers.write_backbone(tmp_path / "large.ckpt", "tiny", factor=1e36)
    with pytest.raises(SystemExit) as stop:
        train(tmp_path / "run", LINEAR, ckpt_path=tmp_path / "large.ckpt", cache_features=cached, log_interval=1)
    said = f"{stop.value}{capsys.readouterr().out}"
    assert ("features of 160 of 160 of 1442 images" if cached else "the loss is nan at step 1") in said
    assert "Traceback" not in said


def test_a_checkpoint_without_a_head_says_what_to_train(backbone, tmp_path):
    with pytest.raises(SystemExit, match="has no classifier of task linear: train one on it with `python train.py"):
        validate(backbone, LINEAR, tmp_path)


def test_a_head_of_other_classes_is_refused(run, tmp_path, monkeypatch):
    from mindbyol.evaluation import runner

    opened = runner.source_from_args

    def fewer(*args):
        source = opened(*args)
        source.class_names, source.labels = source.class_names[:9], np.minimum(source.labels, 8)
        return source

    monkeypatch.setattr(runner, "source_from_args", fewer)
    with pytest.raises(SystemExit, match="tells 10 classes apart, but .* has 9"):
        validate(run / "tiny-3_15.ckpt", LINEAR, tmp_path)


@pytest.mark.slow
def test_a_file_of_another_project_goes_in(tmp_path):
    """PyTorch's names and container; the padding is that of its project."""
    arrays = classifiers.write_backbone(tmp_path / "ours.ckpt", "resnet18", stages=1, factor=1)
    export(read_weights(tmp_path / "ours.ckpt"), tmp_path / "theirs.pth", "torchvision")
    train(tmp_path / "run", LINEAR, model="resnet18", pretrained_from=tmp_path / "theirs.pth", epoch_size=1)
    found, card = checkpoint.read(tmp_path / "run/resnet18-1_5.ckpt")
    assert card.stages == 1
    classifiers.assert_same(checkpoint.online_backbone(found), arrays)
