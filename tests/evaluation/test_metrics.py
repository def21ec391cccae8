import numpy as np
import pytest

from mindbyol.evaluation.metrics import (
    average_precision_11_point,
    mean_average_precision_11_point,
    mean_per_class,
    top1,
)


def test_top1_and_mean_per_class_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 3])  # class 2 has no image
    scores = np.eye(4)[[0, 0, 0, 1, 1, 2]]
    assert top1(scores, labels) == pytest.approx(100 * 4 / 6)
    assert mean_per_class(scores, labels) == pytest.approx(100 * (3 / 4 + 1 + 0) / 3)


def test_11_points_by_hand():
    # Ranked: +, -, +, left out, -, +: precision 1 at recall 1/3, 2/3 at recall 2/3, 3/5 at recall 1.
    scores = np.array([0.9, 0.8, 0.7, 0.65, 0.6, 0.5])
    labels = np.array([1, 0, 1, -1, 0, 1])
    # Recall 0 to 0.3: 1; 0.4 to 0.6: 2/3; 0.7 to 1: 3/5.
    expected = 100 * (4 * 1 + 3 * 2 / 3 + 4 * 3 / 5) / 11
    order = np.array([3, 5, 0, 2, 4, 1])
    assert average_precision_11_point(scores[order], labels[order]) == pytest.approx(expected)


def test_the_best_precision_at_a_larger_recall_counts():
    # Ranked: -, +, +: precision 1/2, then 2/3 at recall 1, and so at every smaller one.
    assert average_precision_11_point(np.array([3, 2, 1.0]), np.array([0, 1, 1])) == pytest.approx(100 * 2 / 3)


def test_a_recall_that_floats_miss():
    # Three of ten found is a recall of 0.3, though 3 * 0.1 is more: precision 1 there, then 10/11.
    labels = np.array([1, 1, 1, 0] + [1] * 7)
    expected = 100 * (4 * 1 + 7 * 10 / 11) / 11
    assert average_precision_11_point(-np.arange(11.0), labels) == pytest.approx(expected)


def test_equal_scores_stay_in_order_and_classes_are_averaged():
    same = np.zeros(2)
    assert average_precision_11_point(same, np.array([1, 0])) == 100
    assert average_precision_11_point(same, np.array([0, 1])) == 50
    assert mean_average_precision_11_point(np.zeros((2, 2)), np.array([[1, 0], [0, 1]])) == 75
    with pytest.raises(ValueError, match="needs a positive"):
        average_precision_11_point(same, np.array([0, -1]))
