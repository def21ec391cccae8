"""Fine-tuning as whole commands: what is trained and what is not, what goes on, what two ranks do, what is refused."""

import shutil

import numpy as np
import pytest

import mindspore as ms
from mindspore import nn

from mindbyol import checkpoint, finetuning
from mindbyol.backbones import create_backbone
from mindbyol.byol import Normalize
from mindbyol.config import parse_args
from mindbyol.runtime import World
from mindbyol.training.optimizer import create_optimizer
from mindbyol.training.plan import Plan
from tests.tasks import classifiers, tiny
from tests.tasks.classifiers import lines, train, validate

FINETUNE = {
    "task": "finetune",
    "dataset": "digits",
    "model": "tiny",
    "image_resize": 16,
    "crop_pct": 1,
    "hflip": 0,
    "scale": "0.5 1",
    "labels_per_class": 6,
    "batch_size": 20,
    "epoch_size": 2,
    "lr": 0.05,
    "head_lr_mult": 10,
    "num_parallel_workers": 1,
    "log_interval": 1,
}
RESNET = {**FINETUNE, "model": "resnet18", "stages": 2, "frozen_stages": 1, "label_smoothing": 0.1}
FROZEN = ("conv1.", "bn1.", "layer1.")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Path of a ResNet's checkpoint."""
    path = tmp_path_factory.mktemp("backbone") / "resnet18-1_1_backbone.ckpt"
    classifiers.write_backbone(path, "resnet18", stages=2, factor=1.0)
    return path


@pytest.fixture(scope="module")
def run(backbone, tmp_path_factory):
    """The folder of a run of two epochs of three steps, its stem and first stage frozen."""
    folder = tmp_path_factory.mktemp("run") / "ckpt"
    train(folder, RESNET, pretrained_from=backbone)
    return folder


def finetuned(frozen_stages, model="resnet18", **options):
    backbone = create_backbone(model, image_size=32, **options)
    head = nn.Dense(backbone.num_features, 10)
    return finetuning.FineTuned(backbone, head, Normalize([0] * 3, [1] * 3), frozen_stages)


@pytest.mark.parametrize(
    "frozen_stages, frozen", [(-1, ()), (0, FROZEN[:2]), (1, FROZEN), (2, ("conv1.", "bn1.", "layer1.", "layer2."))]
)
def test_stages_are_frozen_by_number(frozen_stages, frozen):
    network = finetuned(frozen_stages, stages=2)
    of_backbone = [p for p in network.get_parameters() if p.name.startswith("online.backbone.")]
    for parameter in of_backbone:
        expected = not parameter.name[len("online.backbone.") :].startswith(frozen or ("none",))
        assert parameter.requires_grad == (expected and "moving" not in parameter.name), parameter.name
    for _ in range(2):  # again, as after a validation
        norms = {name: cell for name, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d)}
        modes = {name: cell.training for name, cell in norms.items()}
        assert modes == {name: not f"{name}."[len("backbone.") :].startswith(frozen or ("none",)) for name in modes}
        network.set_train(False)
        assert not any(cell.training for cell in norms.values())
        network.set_train()


@pytest.mark.parametrize("opt", ["sgd", "lars", "adamw"])
def test_the_classifier_learns_faster_by_name(opt):
    recipe = parse_args(["--task", "finetune", "--opt", opt, "--head_lr_mult", "10", "--lr", "1"])
    training = object.__new__(finetuning.Training)
    training.recipe = recipe
    network = finetuned(-1, "tiny")
    optimizer = create_optimizer(recipe, network, Plan(recipe, 640), training.multiplier)
    before = {p.name: p.asnumpy().copy() for p in optimizer.parameters}
    weights = {"heads.0.weight", "online.backbone.conv1.weight"}
    ones = tuple(ms.Tensor(np.ones(p.shape, np.float32)) for p in optimizer.parameters)
    optimizer(ones)
    moved = {p.name: np.abs(p.asnumpy() - before[p.name]).mean() for p in optimizer.parameters}
    if opt == "lars":  # in units of the weights' own size
        moved = {name: moved[name] / np.sqrt(np.square(before[name]).mean()) for name in weights}
    assert moved["heads.0.weight"] == pytest.approx(10 * moved["online.backbone.conv1.weight"], rel=1e-3)


def test_frozen_stages_stay_as_they_are(run, backbone):
    before, _ = checkpoint.read(backbone)
    arrays, card = checkpoint.read(run / "resnet18-2_6.ckpt")
    after = checkpoint.online_backbone(arrays)
    frozen = [name for name in before if name.startswith(FROZEN)]
    assert checkpoint.digest({n: after[n] for n in frozen}) == checkpoint.digest({n: before[n] for n in frozen})
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == before.keys() - set(frozen)  # weights and statistics of the second stage
    assert (card.kind, card.model, card.stages) == ("finetune", "resnet18", 2)


def test_what_it_was_trained_on_is_listed_and_can_be_used_again(run, backbone, tmp_path):
    names = (run / "train_list.txt").read_text().split()
    assert len(names) == 60 and names[0].startswith("digits/train/")
    assert "60 of 1442 images" in (run / "rank0.log").read_text()
    recipe = parse_args(
        ["--task", "finetune", "--dataset", "digits", "--train_list", str(run / "train_list.txt")]
        + ["--ckpt_save_dir", str(tmp_path)]
    )
    source = finetuning.Training(recipe, World("CPU")).source
    assert np.bincount(source.labels).tolist() == [6] * 10
    assert [source.name(index) for index in range(len(source))] == names
    assert not (tmp_path / "train_list.txt").exists()


def test_validate_gives_the_number_of_the_log(run, tmp_path):
    last = lines(run)[1][-1]
    assert last["epoch"] == 2
    found = validate(run / "resnet18-2_6.ckpt", RESNET, tmp_path)
    names = ("top1", "top5", "mean_per_class")
    assert found == {name: pytest.approx(last[f"val_{name}"], abs=1e-4) for name in names}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run from nothing, with accumulation."""
    folder = tmp_path_factory.mktemp("straight") / "ckpt"
    train(folder, FINETUNE, batch_size=10, gradient_accumulation_steps=2)
    return folder


def test_a_run_goes_on_bit_for_bit(straight, tmp_path):
    folder = tmp_path / "again"
    folder.mkdir()
    for name in ("tiny-1_3.ckpt", "metrics.jsonl"):
        shutil.copy(straight / name, folder)
    train(folder, FINETUNE, "--resume", batch_size=10, gradient_accumulation_steps=2)
    classifiers.assert_same(
        checkpoint.read(folder / "tiny-2_6.ckpt")[0], checkpoint.read(straight / "tiny-2_6.ckpt")[0]
    )
    assert lines(folder)[1] == lines(straight)[1]


@pytest.mark.slow  # in CI test_linear and test_distributed have two ranks
def test_two_ranks_are_one(tmp_path):
    """The same batches, batch norms over both ranks: the same weights, up to the order of sums."""
    train(tmp_path / "one", FINETUNE, lr=0.01)
    without = dict.fromkeys(set(tiny.RECIPE) - set(FINETUNE))  # keys of BYOL
    tiny.run_msrun(tmp_path / "two", **{**without, **FINETUNE, "lr": 0.01, "batch_size": 10})
    one, two = (checkpoint.read(tmp_path / run / "tiny-2_6.ckpt")[0] for run in ("one", "two"))
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=2e-4, atol=2e-5, err_msg=name)
    names = [(tmp_path / run / "train_list.txt").read_text() for run in ("one", "two")]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"labels_per_class": 200}, "labels_per_class: 200 asked for, and class '8' .* has 140; ask for fewer"),
        ({"labels_fraction": 0.5}, "labels_fraction: labels_per_class says already"),
        ({"head_lr_mult": 0}, "--head_lr_mult: 0 is not above 0"),
        ({"frozen_stages": 5}, "--frozen_stages: 5 is above 4 .-1 is none, 0 the stem"),
        ({"frozen_stages": 3, "model": "resnet18", "stages": 2}, "frozen_stages: 3 asked for, but .* 0 .* to 2"),
        ({"frozen_stages": 1}, "model: 'tiny' has no stages that could be told"),
        ({"stem": "small", "model": "resnet18", "pretrained_from": "BACKBONE"}, "stem: small asked for, but .* with"),
        ({"baselines": True}, "baselines: a classifier belongs to"),
        ({"labels_per_class": None, "train_list": "nowhere.txt"}, "train_list: no file 'nowhere.txt'"),
        ({"batch_size": 64}, "batch_size: a step takes 64 images .*, the training split has 60"),
        ({"pretrained_from": "nowhere.ckpt"}, "nowhere.ckpt: no such file"),
    ],
)
def test_bad_input_is_one_line(backbone, tmp_path, keys, message):
    keys = {key: str(backbone) if value == "BACKBONE" else value for key, value in keys.items()}
    with pytest.raises(SystemExit, match=message) as stop:
        train(tmp_path / "run", FINETUNE, **keys)
    assert "\n" not in str(stop.value)


def test_a_checkpoint_without_a_classifier_says_what_to_train(backbone, tmp_path):
    with pytest.raises(SystemExit, match="has no classifier of task finetune: train one on it with `python train.py"):
        validate(backbone, RESNET, tmp_path)
