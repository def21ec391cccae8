"""The comparison with few labels and changed queries, against scikit-learn and by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mindbyol.config import parse_args
from mindbyol.data.label_subset import stratified
from mindbyol.data.sources import create_source
from mindbyol.evaluation import compare, knn

DIGITS = ["--config", "configs/byol/byol_resnet18_digits_cpu.yaml", "--task", "compare"]


@pytest.fixture(scope="module")
def pixels():
    """Features and labels of the digits: more features than labelled images, some of which never change."""
    found = []
    for split in ("train", "val"):
        source = create_source("digits", split=split)
        features = np.stack([source[i] for i in range(len(source))]).reshape(len(source), -1).astype(np.float32)
        found += [features, source.labels]
    return found


def test_few_labels_score_as_scikit_learns_regression_does(pixels):
    bank, labels, queries, wanted = pixels
    found = compare.few_label_scores(*pixels, [1, 30], 2, 1.0, seed=5).reshape(2, 2)
    scaler = StandardScaler().fit(bank.astype(np.float64))
    for row, count in zip(found, (1, 30)):  # fewer images than features, and more
        for draw, score in enumerate(row):
            chosen = stratified(labels, 5000 + draw, per_class=count)
            reference = LogisticRegression(C=1.0, max_iter=5000, tol=1e-8)
            reference.fit(scaler.transform(bank[chosen]), labels[chosen])
            expected = 100 * reference.score(scaler.transform(queries), wanted)
            assert abs(score - expected) <= 100 / len(wanted) + 1e-6  # one image may lie on the border
    assert found[0, 0] != found[0, 1]  # other draws
    assert found[0].max() + 20 < found[1].min()


def test_a_changed_query_is_a_crop_that_is_lighter_or_darker_and_nothing_else():
    recipe = parse_args([*DIGITS, "--changed_scale", "0.5", "0.6", "--changed_brightness", "0.3"], "validate")
    change = compare.changed_query(recipe)
    image = np.full((40, 40, 3), 100, np.uint8)
    drawn = [change.operations(image, recipe.seed, 0, index, 0) for index in range(60)]
    for crop, brightness in drawn:
        top, left, height, width = crop[1]
        assert height == width and 0.45 < height * width / 1600 < 0.65
        assert brightness[0] == "brightness" and abs(brightness[1]) <= 0.3
    assert len({brightness[1] for _, brightness in drawn}) == 60
    assert change.outputs() == {"image": ((3, 16, 16), np.uint8)}


@pytest.mark.parametrize(
    "flags, within",
    [
        ([], True),
        (["--changed_brightness", "0.5"], False),
        (["--changed_scale", "0.4", "0.9"], False),
        (["--color_jitter_prob", "0"], False),
        (["--scale", "0.9", "1", "0.5", "1"], True),  # one view sees it
    ],
)
def test_whether_the_training_makes_such_changes_is_worked_out(flags, within):
    assert compare.within_training(parse_args([*DIGITS, *flags], "validate")) is within


def test_a_recipe_without_training_does_not_say():
    recipe = parse_args(["--config", "configs/knn/knn_digits_cpu.yaml", "--task", "compare"], "validate")
    assert compare.within_training(recipe) is None


class Images:
    """A source with so many images of each class."""

    description = "some images"

    def __init__(self, counts):
        self.class_names = [str(n) for n in range(len(counts))]
        self.labels = np.repeat(np.arange(len(counts)), counts)

    def __len__(self):
        return len(self.labels)


def test_numbers_of_labels_that_a_class_does_not_have_are_left_out(caplog):
    recipe = parse_args([*DIGITS, "--few_labels", "20", "1", "5", "--knn_k", "3"], "validate")
    images = Images([5, 9])
    compare.check_data(recipe, {"bank": images, "queries": images})
    assert compare.possible_counts(recipe, images) == [1, 5] and "only [1, 5] labels a class" in caplog.text
    recipe = parse_args([*DIGITS, "--few_labels", "20", "--knn_k", "3"], "validate")
    with pytest.raises(ValueError, match="few_labels: 20 labels a class asked for"):
        compare.check_data(recipe, {"bank": images, "queries": images})


def test_a_range_that_ends_before_it_begins():
    with pytest.raises(ValueError, match="changed_scale: 0.9 is above 0.5"):
        parse_args([*DIGITS, "--changed_scale", "0.9", "0.5"], "validate")


def test_the_scores_of_a_subject(pixels, monkeypatch):
    """Of features that tell classes apart, each in its place; changed queries are asked with the changed transform."""
    bank, labels, queries, wanted = pixels
    recipe = parse_args([*DIGITS, "--few_labels", "1", "2", "--few_labels_draws", "3"], "validate")
    asked = []

    def features(subject, of, transform=None):
        asked.append(transform)
        return (bank, labels) if of == "bank" else (queries if transform is None else np.ones_like(queries), wanted)

    tools = SimpleNamespace(
        features=features,
        share=lambda count: slice(0, count),
        total=lambda counts: np.array(counts, float),
        on_first_rank=lambda work, count: work(),
    )
    sources = {"bank": "bank", "queries": "queries"}
    monkeypatch.setattr(compare, "possible_counts", lambda *_: [1, 2])
    scores = dict(compare.run(recipe, None, sources, tools))
    expected = knn.WeightedKNN((20,)).fit(bank, labels).score(queries, wanted)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert scores["changed_knn20_top1"] < 30 < scores["few_labels1_top1"] < scores["few_labels2_top1"]
    draws = compare.few_label_scores(*pixels, [2], 3, 1.0, recipe.seed)
    assert scores["few_labels2_std"] == pytest.approx(draws.std(ddof=1))
    assert asked[:2] == [None, None] and type(asked[2]).__name__ == "OneViewTransform"
