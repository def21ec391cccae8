"""The protocols `svm` and `low_shot` over real images, from a recipe to scores."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve
from sklearn.model_selection import GridSearchCV
from sklearn.svm import LinearSVC

from mindbyol.config import parse_args
from mindbyol.data.sources import create_source, evenly_spaced
from mindbyol.evaluation import low_shot, svm
from mindbyol.evaluation.runner import Evaluation
from mindbyol.evaluation.stage_svms import class_columns
from mindbyol.evaluation.subjects import Scored
from mindbyol.evaluation.tools import Tools
from mindbyol.runtime import World

COSTS = (10.0, 0.01)
FLAGS = "--dataset digits --image_resize 8 --short_side 8 --batch_size 100 --num_parallel_workers 1 --svm_costs 10 0.01"
PIXELS = Scored("pixels", None)


def open_recipe(task, *flags):
    return parse_args(["--task", task, *FLAGS.split(), "--baselines", "True", *map(str, flags)], "validate")


@pytest.fixture(scope="module")
def sources():
    return {"train": evenly_spaced(create_source("digits"), 200), "test": create_source("digits", split="val")}


class Relabelled:
    """The same images with other labels."""

    def __init__(self, source, labels, class_names=None):
        self._source, self.labels = source, labels
        self.class_names = class_names or source.class_names
        self.name, self.description = source.name, source.description

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        return self._source[index]


def scores(module, recipe, sources, rank=0, ranks=1, totals=None):
    tools = Tools(recipe, World("CPU", rank, ranks))
    whole = Tools(recipe, World("CPU"))
    tools.features = whole.features
    tools.total = lambda counts: (totals or whole.total)(counts)
    return dict(module.run(recipe, PIXELS, sources, tools))


def plain_area(labels, found):
    """From scikit-learn's curve: the precision at each recall is the best one at this recall or a larger one."""
    precision, recall, _ = precision_recall_curve(labels, found)  # from recall 1 down to 0
    return 100 * np.sum((recall[:-1] - recall[1:]) * np.maximum.accumulate(precision)[:-1])


def pixels_of(source):
    """Of an 8 x 8 digit, resizing to 8 x 8 leaves every pixel as it is."""
    rows = np.array([source[i].transpose(2, 0, 1).reshape(-1) for i in range(len(source))], np.float64)
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5)


def plain_svm(cost=1.0, seed=42):
    return LinearSVC(C=cost, class_weight={1: 2, -1: 1}, dual=True, tol=1e-4, max_iter=2000, random_state=seed)


def test_svm_is_a_plain_search_for_the_cost_of_each_class(sources):
    found = scores(svm, open_recipe("svm"), sources)
    train, test = pixels_of(sources["train"]), pixels_of(sources["test"])
    expected = []
    for c in range(10):
        signs = np.where(sources["train"].labels == c, 1, -1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search = GridSearchCV(plain_svm(), {"C": COSTS}, scoring="average_precision", cv=3).fit(train, signs)
        expected.append(plain_area(sources["test"].labels == c, search.decision_function(test)))
    assert found == {"svm_pixels_map": pytest.approx(np.mean(expected), abs=1e-4), "svm_map": found["svm_pixels_map"]}
    assert 85 < found["svm_map"] < 100


def test_images_that_do_not_count_are_negatives_in_training_and_left_out_of_the_test(sources):
    rng = np.random.default_rng(0)
    labels = {role: class_columns(source.labels, 10) for role, source in sources.items()}
    for columns in labels.values():
        columns[rng.random(columns.shape) < 0.2] = -1
    several = {role: Relabelled(source, labels[role]) for role, source in sources.items()}
    found = scores(svm, open_recipe("svm", "--svm_costs", 1), several)
    train, test = pixels_of(sources["train"]), pixels_of(sources["test"])
    expected = []
    for c in range(10):
        found_of = plain_svm().fit(train, np.where(labels["train"][:, c] == 1, 1, -1)).decision_function(test)
        counts = labels["test"][:, c] != -1
        expected.append(plain_area(labels["test"][counts, c] == 1, found_of[counts]))
    assert found["svm_map"] == pytest.approx(np.mean(expected), abs=1e-4)


def test_low_shot_takes_the_cost_that_is_best_on_average(sources):
    recipe = open_recipe("low_shot", "--low_shot_k", 4, 1, "--low_shot_samples", 3)
    found = scores(low_shot, recipe, sources)
    train, test = pixels_of(sources["train"]), pixels_of(sources["test"])
    labels = sources["train"].labels
    for k in (1, 4):
        precisions = np.zeros((10, 3, 2))
        for c in range(10):
            for sample in range(3):
                rows = low_shot.draw((labels == c).astype(int), 10, k, 42, c, sample)
                for i, cost in enumerate(COSTS):
                    fitted = plain_svm(cost).fit(train[rows], np.where(labels[rows] == c, 1, -1))
                    precisions[c, sample, i] = plain_area(sources["test"].labels == c, fitted.decision_function(test))
        best = precisions.mean((0, 1)).argmax()
        of_samples = precisions.mean(0)[:, best]
        assert found[f"low_shot_k{k}_map"] == pytest.approx(of_samples.mean(), abs=1e-4)
        assert found[f"low_shot_pixels_k{k}_std"] == pytest.approx(of_samples.std(), abs=1e-4)
    assert 30 < found["low_shot_k1_map"] < found["low_shot_k4_map"] < 100


def test_a_draw_has_k_of_the_class_and_k_for_each_other_class():
    labels = np.array([1, 0, 0, -1, 0, 1, 0, 1, -1, 0] * 6)
    rows = low_shot.draw(labels, 3, 5, 0, 1, 2)
    assert len(set(rows)) == 15 and labels[rows].tolist() == [1] * 5 + [0] * 10
    np.testing.assert_array_equal(rows, low_shot.draw(labels, 3, 5, 0, 1, 2))
    others = [low_shot.draw(labels, 3, 5, *key) for key in [(1, 1, 2), (0, 2, 2), (0, 1, 3)]]
    assert len({tuple(draw) for draw in [rows, *others]}) == 4


def test_the_cost_is_chosen_for_each_k_over_classes_and_samples():
    precisions = np.zeros((2, 2, 2, 3))  # classes, ks, samples, costs
    precisions[:, 0] = [[[10, 20, 30], [50, 40, 0]], [[10, 40, 30], [50, 20, 0]]]  # means 30, 30, 15: the first
    precisions[:, 1] = [[[0, 0, 80], [0, 0, 60]], [[0, 0, 70], [0, 0, 90]]]
    means, spreads, chosen = low_shot.summarize(precisions)
    assert means.tolist() == [30, 75] and spreads.tolist() == [20, 0] and chosen.tolist() == [0, 2]


@pytest.mark.parametrize("task, module", [("svm", svm), ("low_shot", low_shot)])
def test_shuffled_labels_score_chance(sources, task, module):
    shuffled = np.random.default_rng(1).permutation(sources["train"].labels)
    mixed = {"train": Relabelled(sources["train"], shuffled), "test": sources["test"]}
    recipe = open_recipe(task, *(["--low_shot_k", 2] if task == "low_shot" else []))
    assert 7 < scores(module, recipe, mixed)[f"{task}{'_k2' if task == 'low_shot' else ''}_map"] < 18  # a tenth


@pytest.mark.parametrize("task, module", [("svm", svm), ("low_shot", low_shot)])
def test_ranks_share_the_classes(sources, task, module):
    recipe = open_recipe(task, *(["--low_shot_k", 2] if task == "low_shot" else []))
    shares = []
    for rank in range(3):  # 4, 4 and 2 classes
        scores(module, recipe, sources, rank, 3, lambda counts: shares.append(np.float64(counts)) or shares[-1])
    of_ranks = [shares[first : first + 2] for first in (0, 2, 4)]
    assert [todo.tolist() for todo, _ in of_ranks] == [[4], [4], [2]]
    totals = iter([np.sum(parts, 0) for parts in zip(*of_ranks)])
    together = scores(module, recipe, sources, 2, 3, lambda _: next(totals))
    assert together == pytest.approx(scores(module, recipe, sources), abs=1e-4)  # messages are float32


def test_a_command_that_was_stopped_goes_on_with_the_class_where_it_was(sources, tmp_path, monkeypatch, caplog):
    recipe = open_recipe("svm", "--features_dir", tmp_path)
    whole, made = svm.score_classes, []

    def stops(*args):
        for found in whole(*args):
            made.append(found[0])
            if len(made) == 4:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(svm, "score_classes", stops)
    with pytest.raises(KeyboardInterrupt):
        scores(svm, recipe, sources)
    files = sorted(tmp_path.glob("svm-pixels-*/*.json"))
    assert [file.name for file in files] == [f"pixels-class000{c}.json" for c in range(3)]
    files[1].write_text(files[1].read_text()[:-9])  # a damaged one is made anew
    files[2].write_text(json.dumps({**json.loads(files[2].read_text()), "made_of": {}}))
    found = scores(svm, recipe, sources)
    assert made[4:] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert "is no good" in caplog.text and "it is of something else" in caplog.text
    assert found == scores(svm, recipe, sources) and len(made) == 13  # all are there now
    monkeypatch.setattr(svm, "score_classes", whole)
    assert found == scores(svm, open_recipe("svm"), sources)
    assert scores(svm, open_recipe("svm", "--features_dir", tmp_path, "--svm_costs", 1e-5), sources) != found


def check(module, task, sources, *flags):
    module.check_data(open_recipe(task, *flags), sources)


def test_data_that_cannot_be_scored_are_refused_in_one_line(sources):
    train, test = sources["train"], sources["test"]
    labels = train.labels.copy()
    labels[np.flatnonzero(labels == 8)[2:]] = 0
    rare = {"train": Relabelled(train, np.where(labels == 3, 4, labels)), "test": test}
    with pytest.raises(
        ValueError, match="^dataset: 2 of 10 classes have fewer than 3 images with it in 200 of .*: 3 .0., 8 .2.; "
    ):
        check(svm, "svm", rare)
    unseen = {"train": train, "test": Relabelled(test, np.where(test.labels == 5, 6, test.labels))}
    with pytest.raises(ValueError, match="^dataset: 1 of 10 classes have fewer than 1 images with it in .*: 5 .0.; "):
        check(svm, "svm", unseen)
    with pytest.raises(ValueError, match="^dataset: .*: no labels to score with"):
        check(low_shot, "low_shot", {"train": train, "test": SimpleNamespace(labels=None, description="photos")})
    with pytest.raises(ValueError, match="^dataset: the classes of .* and of .* are not the same"):
        check(svm, "svm", {"train": train, "test": Relabelled(test, test.labels, ["a", "b"])})
    one = {role: Relabelled(s, np.zeros(len(s), np.int32), ["a"]) for role, s in sources.items()}
    with pytest.raises(ValueError, match="an SVM tells a class from others, and there are none"):
        check(svm, "svm", one)


def test_more_images_than_there_are_to_learn_from(sources):
    check(low_shot, "low_shot", sources, "--low_shot_k", 15)
    with pytest.raises(
        ValueError, match="^dataset: 10 of 10 classes have fewer than 32 images with it in .*; lower low_shot_k"
    ):
        check(low_shot, "low_shot", sources, "--low_shot_k", 1, 32)
    columns = class_columns(sources["train"].labels, 10)
    columns[columns == 0] = -1
    alone = {**sources, "train": Relabelled(sources["train"], columns)}
    with pytest.raises(ValueError, match="^dataset: 10 of 10 classes have fewer than 9 images without it"):
        check(low_shot, "low_shot", alone, "--low_shot_k", 1)


def test_a_cost_that_stands_there_twice():
    with pytest.raises(ValueError, match="^svm_costs: 10 0.01 10 has a number twice; drop one"):
        open_recipe("svm", "--svm_costs", 10, 0.01, 10)


def test_the_images_that_are_learned_from_are_not_scored():
    with pytest.raises(ValueError, match="^val_split: train is train_split, too"):
        open_recipe("svm", "--val_split", "train")


def test_layers_that_the_backbone_has_not_got_are_refused_before_any_work():
    recipe = open_recipe("svm", "--model", "resnet18", "--stages", 1, "--image_resize", 32, "--layers", "feature5")
    with pytest.raises(ValueError, match="^layers: this backbone has no feature5, only feature1, feature2: "):
        Evaluation(recipe, svm)
