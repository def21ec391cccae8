import os
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC

from mindbyol.evaluation import linear_svm
from mindbyol.evaluation.linear_svm import COSTS, cross_validate, in_few_numbers, score, spread, unit


@pytest.fixture(scope="module")
def data():
    """More numbers than images, as stages have: products of pixels of digits. Is it a 3? Some do not count."""
    digits = load_digits()
    rows = np.random.default_rng(0).permutation(len(digits.data))[:180]
    pixels = digits.data[rows] / 16
    features = (pixels[:, :, None] * pixels[:, None, :8]).reshape(len(rows), -1).astype(np.float32)
    labels = (digits.target[rows] == 3).astype(np.int8)
    labels[::11] = -1
    features = unit(features)
    return features[:100], labels[:100], features[100:], labels[100:]


def plain(cost, features, labels):
    """scikit-learn's SVM with the published settings, written out."""
    settings = dict(penalty="l2", loss="squared_hinge", dual=True, intercept_scaling=1.0, tol=1e-4, max_iter=2000)
    svm = LinearSVC(C=cost, class_weight={1: 2, -1: 1}, random_state=7, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return svm.fit(features, np.where(labels == 1, 1, -1))


def area(scores, labels):
    """By hand: down the ranking, the precision at each positive, lifted to the best one that follows."""
    ranking = [label for _, label in sorted(zip(-scores, labels), key=lambda pair: pair[0]) if label != -1]
    precisions = [sum(ranking[: n + 1]) / (n + 1) for n in range(len(ranking))]
    return 100 * np.mean([max(precisions[n:]) for n, label in enumerate(ranking) if label == 1])


def test_the_costs_are_the_published_nineteen():
    assert len(COSTS) == 19 and COSTS[:4] == (1, 10, 100, 0.0625) and COSTS[-1] == pytest.approx(1.9073486e-6)


def test_rows_are_divided_by_their_length():
    found = unit(np.array([[3, 4], [0, 0]], np.float32))
    np.testing.assert_allclose(found, [[3 / 5.00001, 4 / 5.00001], [0, 0]], rtol=1e-15)
    assert found.dtype == np.float64


def test_fewer_numbers_have_the_same_inner_products(data):
    train, _, test, _ = data
    assert train.shape == (100, 512)
    few, few_test = in_few_numbers(train, test)
    assert few.shape == (100, 100) and few_test.shape == (80, 100)
    np.testing.assert_allclose(few @ few.T, train @ train.T, atol=1e-12)
    np.testing.assert_allclose(few @ few_test.T, train @ test.T, atol=1e-12)
    assert np.count_nonzero(few) <= 5050  # the rest are zeros, which are skipped
    same, _ = in_few_numbers(test[:, :50], test[:, :50])
    assert same.shape == (80, 50)


@pytest.mark.parametrize("cost", [100.0, 0.5**6])
def test_svms_are_those_of_a_plain_loop_over_all_numbers(data, cost):
    train, labels, test, test_labels = data
    few, few_test = in_few_numbers(train, test)
    precisions, _ = score(few, slice(None), labels, [cost, 1.0], 7, few_test, test_labels)
    scores = plain(cost, train, labels).decision_function(test)
    counts = test_labels != -1
    assert precisions[0] == pytest.approx(area(scores[counts], test_labels[counts]), abs=1e-6)
    some = np.arange(0, 100, 3)
    precisions, _ = score(few, some, labels, [cost], 7, few_test, test_labels)
    scores = plain(cost, train[some], labels[some]).decision_function(test)
    assert precisions[0] == pytest.approx(area(scores[counts], test_labels[counts]), abs=1e-6)


def test_cross_validation_is_over_three_folds_as_scikit_learn_cuts_them(data):
    train, labels, _, _ = data
    positive = labels == 1
    fold = np.empty(len(labels), int)  # of each kind, the first third in the order of the images, then the second, ...
    for kind in (positive, ~positive):
        fold[kind] = np.concatenate([np.full(len(part), f) for f, part in enumerate(np.array_split(labels[kind], 3))])
    sizes = [positive[fold == f].sum() for f in range(3)]
    assert max(sizes) - min(sizes) <= 1
    expected = []
    for f in range(3):
        svm = plain(1.0, train[fold != f], labels[fold != f])
        expected.append(average_precision_score(positive[fold == f], svm.decision_function(train[fold == f])))
    few, _ = in_few_numbers(train, train)
    assert cross_validate(few, labels, 1.0, 7)[0] == pytest.approx(np.mean(expected), abs=1e-9)


def test_svms_that_stop_early_are_counted_and_not_warned_of(data, monkeypatch):
    train, labels, test, test_labels = data
    assert cross_validate(train, labels, 0.01, 0)[1] == 0
    monkeypatch.setattr(linear_svm, "MAX_ITER", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cross_validate(train, labels, 100.0, 0)[1] == 3
        assert score(train, slice(None), labels, [100.0, 10.0], 0, test, test_labels)[1] == 2


def test_processes_give_what_one_process_gives_in_order(data):
    """In threads, LIBLINEAR's one generator of random numbers would serve all SVMs in turn."""
    train, labels, _, _ = data
    tasks = [(train, labels, cost, 0) for cost in (100.0, 1.0, 0.01, 10.0)]
    one = list(spread(cross_validate, tasks, 1))
    assert list(spread(cross_validate, tasks, 2)) == one and len(set(one)) > 1


def test_a_process_that_is_killed_is_one_line():
    with pytest.raises(OSError, match="^num_parallel_workers: one of 2 processes that fit SVMs was killed"):
        list(spread(os._exit, [(1,), (1,)], 2))
