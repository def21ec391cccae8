from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mindbyol.evaluation import knn
from mindbyol.evaluation.knn import WeightedKNN, places
from mindbyol.evaluation.tools import Tools
from mindbyol.runtime import World

SIZES = {"bank": 20, "queries": 7}


def test_hand_computed_votes():
    # On the unit circle; the query lies at 0 degrees. Class 0 at 10 degrees, class 1 at 60 and -60.
    angles = np.radians([10, 60, -60, 180])
    bank = np.stack([np.cos(angles), np.sin(angles)], 1) * [[1], [5], [0.1], [1]]  # lengths do not count
    labels = np.array([0, 1, 1, 2])
    query = np.array([[3.0, 0.0]])
    # k = 3, T = 1: class 0 gets exp(cos 10) = 2.68, class 1 gets 2 exp(0.5) = 3.30. T = 0.07: class 0 wins.
    assert WeightedKNN([3], 1.0).fit(bank, labels).score(query, [1]) == {"knn3_top1": 100.0, "knn3_top5": 100.0}
    assert WeightedKNN([3], 0.07).fit(bank, labels).score(query, [0])["knn3_top1"] == 100.0


def test_a_class_without_a_vote_is_not_in_the_top_five():
    knn = WeightedKNN([1]).fit(np.eye(6), np.arange(6))
    assert knn.score(np.eye(6)[:1], [1]) == {"knn1_top1": 0.0, "knn1_top5": 0.0}


def test_agrees_with_a_slow_version_in_any_blocks():
    rng = np.random.default_rng(0)
    bank, labels = rng.standard_normal((60, 8)).astype(np.float32), rng.integers(0, 7, 60)
    queries, wanted = rng.standard_normal((23, 8)).astype(np.float32), rng.integers(0, 7, 23)
    hits = {(k, t): 0 for k in (5, 20) for t in (1, 5)}
    for query, label in zip(queries, wanted):
        similarity = bank @ query / np.linalg.norm(bank, axis=1) / np.linalg.norm(query)
        order = np.argsort(-similarity)
        for k in (5, 20):
            votes = {}
            for i in order[:k]:
                votes[labels[i]] = votes.get(labels[i], 0) + np.exp(similarity[i] / 0.07)
            ranking = sorted(votes, key=votes.get, reverse=True)
            for t in (1, 5):
                hits[k, t] += label in ranking[:t]
    expected = {f"knn{k}_top{t}": 100 * n / 23 for (k, t), n in hits.items()}
    for tile, block in ((64, 4), (17, 256), (8192, 256)):
        assert WeightedKNN([5, 20], tile=tile, block=block).fit(bank, labels).score(queries, wanted) == pytest.approx(
            expected
        )


def test_labels_that_were_shuffled_score_chance():
    """Over features that score 97 % with the right ones; ten classes."""
    digits = load_digits()
    bank, queries = slice(0, 1400), slice(1400, None)
    shuffled = np.random.default_rng(0).permutation(digits.target[bank])
    right = WeightedKNN([20]).fit(digits.data[bank], digits.target[bank])
    wrong = WeightedKNN([20]).fit(digits.data[bank], shuffled)
    assert right.score(digits.data[queries], digits.target[queries])["knn20_top1"] > 90
    scores = wrong.score(digits.data[queries], digits.target[queries])
    # Of 397 queries 10 % and 50 % are expected; the bounds are five standard deviations of a fair draw away.
    assert abs(scores["knn20_top1"] - 10) < 7.6 and abs(scores["knn20_top5"] - 50) < 12.6


def test_places_by_hand():
    """Class 7 has no neighbour; of classes with as many votes the lower comes first."""
    similarity = np.array([[0.9, 0.5, 0.5, 0.5, 0.5]])
    labels = np.array([[4, 2, 2, 9, 9]])
    # T = 1: 4 has exp(0.9) = 2.46 votes, 2 and 9 have 2 exp(0.5) = 3.30.
    assert [places(similarity, labels, np.array([c]), 1.0)[0] for c in (2, 9, 4, 7)] == [0, 1, 2, np.inf]
    # T = 0.1: 4 has exp(9) = 8103 votes, 2 and 9 have 2 exp(5) = 297.
    assert [places(similarity, labels, np.array([c]), 0.1)[0] for c in (2, 9, 4, 7)] == [1, 2, 0, np.inf]


def test_more_neighbours_than_images():
    with pytest.raises(ValueError, match="knn_k: 10 neighbours asked for, but the bank has 3 images"):
        WeightedKNN([10]).fit(np.eye(3), np.arange(3))


@pytest.mark.parametrize("temperature", [1e-3, 1e-5])
def test_low_temperatures_neither_overflow_nor_vanish(temperature):
    """The nearest decides alone; classes with a vote stay before those without, however small the vote is."""
    rng = np.random.default_rng(1)
    bank, labels = rng.standard_normal((50, 4)), np.arange(50) % 10
    queries = rng.standard_normal((20, 4))
    nearest = np.argmax(queries @ bank.T / np.linalg.norm(bank, axis=1), axis=1)
    scores = WeightedKNN([20], temperature).fit(bank, labels).score(queries, labels[nearest])
    assert scores == {"knn20_top1": 100.0, "knn20_top5": 100.0}
    two = WeightedKNN([2], temperature).fit(np.eye(6), np.arange(6))
    assert two.score(np.array([[1, 0.1, 0, 0, 0, 0]]), [1]) == {"knn2_top1": 0.0, "knn2_top5": 100.0}


def test_ranks_score_each_query_once():
    rng = np.random.default_rng(1)
    found = {role: (rng.standard_normal((n, 4)).astype(np.float32), rng.integers(0, 3, n)) for role, n in SIZES.items()}
    recipe = SimpleNamespace(knn_k=(3, 50), knn_temperature=0.07)

    def scores(ranks):
        counts = []
        for rank in range(ranks):
            tools = Tools(recipe, World("CPU", rank, ranks))
            tools.features = lambda _, role: found[role]
            tools.total = lambda count: counts.append(count) or np.array(count, float)
            dict(knn.run(recipe, None, {role: role for role in SIZES}, tools))
        return 100.0 * np.sum(counts, 0) / SIZES["queries"]

    expected = WeightedKNN((3,)).fit(*found["bank"]).score(*found["queries"])  # not 50: the bank has 20
    for ranks in (1, 2, 3):
        np.testing.assert_allclose(scores(ranks), list(expected.values()))


def test_images_of_several_classes_are_refused():
    source = SimpleNamespace(labels=np.zeros((3, 20), np.int8), description="3 images, VOC")
    with pytest.raises(ValueError, match="dataset: 3 images, VOC has several classes an image; kNN needs one"):
        knn.check_data(None, {"bank": source, "queries": source})
