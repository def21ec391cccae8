"""The paper's linear transfer: what is held out, which penalty is chosen, and the score, against scikit-learn."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mindbyol.config import parse_args
from mindbyol.data.sources import create_source
from mindbyol.evaluation import transfer
from mindbyol.evaluation.runner import Evaluation
from mindbyol.evaluation.tools import Tools
from mindbyol.runtime import World
from tests import tiny_model  # noqa: F401  (registers the model)
from tests.voc_layout import write_places

ARGS = ["--task", "transfer", "--dataset", "digits", "--l2_range", "0.01", "1000", "--l2_count", "4"]


def recipe(*flags):
    return parse_args([*ARGS, *flags], "validate")


@pytest.fixture(scope="module")
def digits():
    """Sources by role; a seed draws other images than those of the recipe's order."""
    return {"train": create_source("digits"), "test": create_source("digits", split="val")}


def source(labels, class_names="abc", description="some images"):
    return SimpleNamespace(labels=labels, class_names=list(class_names), description=description)


def tools_of(features, world=World("CPU")):
    """Tools that have the features of each source; labels are the source's."""
    tools = Tools(None, world)
    tools.features = lambda _, source: (features[id(source)], source.labels)
    return tools


def gray(source):
    images = np.stack([source[index] for index in range(len(source))])
    return images[..., 0].reshape(len(source), -1).astype(np.float32) / 255


def test_the_score_is_that_of_scikit_learn(digits):
    features = {id(one): gray(one) for one in digits.values()}
    given = recipe("--held_out", "30")
    scores = dict(transfer.run(given, None, digits, tools_of(features)))

    train, labels = features[id(digits["train"])], digits["train"].labels
    test, test_labels = features[id(digits["test"])], digits["test"].labels
    out = transfer.hold_out(labels, 30, given.seed)

    def accuracy(l2, x, y, at, wanted):
        fitted = LogisticRegression(C=1 / l2, tol=1e-6, max_iter=10_000).fit(x, y)
        return 100 * fitted.score(at, wanted)

    of_penalty = {
        l2: accuracy(l2, train[~out], labels[~out], train[out], labels[out]) for l2 in np.geomspace(1000, 0.01, 4)
    }
    best = max(of_penalty, key=of_penalty.get)
    assert scores["transfer_log10_l2"] == pytest.approx(np.log10(best))
    assert scores["transfer_top1_select"] == pytest.approx(of_penalty[best], abs=0.4)  # one image
    assert scores["transfer_top1"] == pytest.approx(accuracy(best, train, labels, test, test_labels), abs=0.4)
    assert scores["transfer_top1"] > 90


def test_a_split_of_its_own_chooses_and_is_trained_on_in_the_end():
    classes = np.arange(30) % 3
    sources = {role: source(classes.astype(np.int32)) for role in ("train", "select", "test")}
    # Images to train on do not show what the last class looks like in the others, where they see the first class.
    places = np.eye(4, dtype=np.float32)
    features = {id(one): places[[0, 1, 3]][classes] for one in sources.values()}
    features[id(sources["train"])] = (places[:3] + 0.3 * places[[3]] * [[1], [0], [0]])[classes].astype(np.float32)
    given = recipe("--select_split", "other", "--l2_range", "1e-3", "1e-2")
    scores = dict(transfer.run(given, None, sources, tools_of(features)))
    assert scores["transfer_top1_select"] < 70 and scores["transfer_top1"] == 100


def test_several_classes_an_image_are_scored_by_11_points():
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((120, 6)).astype(np.float32), np.zeros((120, 3), np.int8)
    labels[features[:, :3] > 0.5] = 1
    labels[rng.random((120, 3)) < 0.1] = -1
    given = recipe("--metric", "map_11_point", "--select_split", "other")
    sources = {role: source(labels, description=role) for role in transfer.splits(given)}
    tools = tools_of({id(one): features for one in sources.values()})
    assert dict(transfer.run(given, None, sources, tools))["transfer_map_11_point"] > 97
    transfer.check_data(given, sources)
    with pytest.raises(ValueError, match="^select_split: train: images with several classes are not held out"):
        transfer.check_data(recipe("--metric", "map_11_point"), {role: sources[role] for role in ("train", "test")})


def test_shuffled_labels_give_chance(digits):
    features = {id(one): gray(one)[:, ::2] for one in digits.values()}
    shuffled = source(np.random.default_rng(0).permutation(digits["train"].labels), digits["train"].class_names)
    features[id(shuffled)] = features[id(digits["train"])]
    sources = {"train": shuffled, "test": digits["test"]}
    scores = dict(transfer.run(recipe("--held_out", "30"), None, sources, tools_of(features)))
    assert scores["transfer_top1"] < 17 and scores["transfer_top1_select"] < 17  # of ten classes; three deviations


def test_ties_take_the_largest_penalty_and_an_end_of_the_range_is_named(caplog):
    features = np.repeat(np.eye(2, dtype=np.float32), 10, 0)
    labels = np.repeat([0, 1], 10)
    of = (features, labels, features, labels, 2)
    assert transfer.choose_penalty(*of, (10.0, 1.0, 0.1), transfer.top1) == (10.0, 100.0)
    assert "l2_range: the best penalty, 10, lies at its end; a wider range may score more" in caplog.text


def test_held_out_images_are_of_every_class_and_of_the_seed():
    labels = np.repeat([0, 1, 2], [5, 9, 40])
    first, again, other = (transfer.hold_out(labels, 4, seed) for seed in (1, 1, 2))
    assert np.bincount(labels[first]).tolist() == [4, 4, 4]
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_other_ranks_take_the_scores_of_the_first(digits, monkeypatch):
    given = []
    sources = {role: source(np.arange(40) % 2, "ab") for role in ("train", "test")}
    features = {id(one): np.eye(2, dtype=np.float32)[np.arange(40) % 2] for one in sources.values()}
    for rank in range(2):
        tools = tools_of(features, World("CPU", rank, 2))
        tools.total = lambda numbers: given.append(list(numbers)) or np.array(numbers, float)
        if rank:
            monkeypatch.setattr(transfer, "choose_penalty", None)  # nobody else fits
        dict(transfer.run(recipe(), None, sources, tools))
    assert given == [[100, 100, 3], [0, 0, 0]]


GOOD = np.arange(60, dtype=np.int32) % 3


@pytest.mark.parametrize(
    "flags, labels, names, message",
    [
        ([], (None, GOOD), ("abc", "abc"), "dataset: the train: no labels to score with"),
        ([], (GOOD, GOOD), ("abd", "abc"), "dataset: the classes of the train and of the test are not the same"),
        ([], (np.eye(3), np.eye(3)), ("abc", "abc"), "metric: top1 is not for the train, which has several classes"),
        (
            ["--metric", "map_11_point"],
            (GOOD, GOOD),
            ("abc", "abc"),
            "metric: map_11_point is not for the train, .*one",
        ),
        (["--held_out", "20"], (GOOD, GOOD), ("abc", "abc"), r"held_out: 20 .* 3 classes .*: a \(20\), b \(20\), c"),
        ([], (GOOD, GOOD % 2), ("abc", "abc"), r"dataset: 1 classes of the test have no image: c \(0\); complete"),
        (
            ["--select_split", "x"],
            (GOOD % 2, GOOD),
            ("abc", "abc"),
            r"dataset: 1 classes of the train have no .*c \(0\)",
        ),
    ],
)
def test_data_that_cannot_be_scored_are_one_line(flags, labels, names, message):
    given = recipe(*flags)
    both = {role: (labels[role == "test"], names[role == "test"], f"the {role}") for role in transfer.splits(given)}
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        transfer.check_data(given, {role: source(*of) for role, of in both.items()})


def test_no_image_is_fitted_and_scored():
    given = recipe("--select_split", "val", "--num_samples", "100")
    sources = {"train": source(GOOD), "select": source(GOOD, description="9 of 60 in val")}
    with pytest.raises(ValueError, match="^select_split: 9 of 60 in val are the images of val_split, too; what is"):
        transfer.check_data(given, {**sources, "test": source(GOOD, description="60 in val")})


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--l2_range", "1", "1"], "l2_range: 1 is not below 1; give the smallest penalty first"),
        (["--metric", "top5"], "--metric: 'top5' is none of top1, mean_per_class, map_11_point"),
    ],
)
def test_keys_that_do_not_go_together_are_one_line(flags, message):
    with pytest.raises(ValueError, match=f"{message}[^\n]*$"):
        recipe(*flags)


def test_validate_scores_a_backbone_and_pixels():
    flags = ["--model", "tiny", "--image_resize", "8", "--crop_pct", "1", "--baselines", "True", "--num_samples", "400"]
    records = Evaluation(recipe(*flags, "--device_target", "CPU"), transfer).run()
    scores = {(record["features"], record["score"]): record["value"] for record in records}
    assert scores["pixels", "transfer_top1"] > 85 and scores["untrained", "transfer_top1"] > 30
    assert {record["task"] for record in records} == {"transfer"} and len(records) == 6
    assert records[0]["settings"]["metric"] == "top1" and records[0]["images"] == 355


def test_voc_is_scored_by_11_points(tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        write_places(tmp_path / "VOC2007", split, count=2, first=1000 * number)
    recipe_file = str(Path(__file__).parents[2] / "configs/transfer/transfer_resnet50_voc07.yaml")
    flags = ["--data_dir", str(tmp_path), "--model", "tiny", "--image_resize", "16", "--baselines", "True"]
    given = parse_args(["-c", recipe_file, *flags, "--l2_count", "4", "--device_target", "CPU"], "validate")
    scores = {(one["features"], one["score"]): one["value"] for one in Evaluation(given, transfer).run()}
    assert scores["pixels", "transfer_map_11_point"] > 90  # crops of the same places
    assert scores["untrained", "transfer_map_11_point"] > 20
