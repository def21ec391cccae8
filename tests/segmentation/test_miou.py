"""Intersection over union by hand, summed over images, and over ranks."""

import numpy as np
import pytest

from mindbyol.config import recipe_from
from mindbyol.evaluation.tools import Tools
from mindbyol.runtime import World
from mindbyol.segmentation.miou import count_areas, scores


def test_areas_by_hand():
    mask = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
    prediction = np.array([[0, 1, 1], [1, 0, 2]], np.int32)
    found = count_areas(prediction, mask, 4)
    assert found.dtype == np.int64
    # both: one 0, two 1; predicted where it counts: two 0, three 1; there are: two 0, two 1, one 2
    assert found.tolist() == [[1, 2, 0, 0], [2, 3, 0, 0], [2, 2, 1, 0]]


def test_scores_by_hand():
    areas = np.array([[1, 2, 0, 0], [2, 3, 0, 0], [2, 2, 1, 0]])
    found = scores(areas, ["ground", "a cat", "dog", "absent"])
    # unions 3, 3, 1; class 3 is neither there nor predicted
    expected = {
        "miou": 100 * (1 / 3 + 2 / 3 + 0) / 3,
        "mean_accuracy": 100 * (1 / 2 + 1 + 0) / 3,
        "pixel_accuracy": 100 * 3 / 5,
        "iou_ground": 100 / 3,
        "iou_a_cat": 200 / 3,
        "iou_dog": 0.0,
    }
    assert found == pytest.approx(expected)
    assert list(found)[0] == "miou"  # by which the best weights are kept


def test_images_are_summed_before_the_quotient():
    first = count_areas(np.array([[1, 1, 1, 1]]), np.array([[1, 0, 0, 0]], np.uint8), 2)  # IoU of 1: 1/4
    second = count_areas(np.array([[1]]), np.array([[1]], np.uint8), 2)  # 1/1
    assert scores(first + second, "ab")["iou_b"] == pytest.approx(100 * 2 / 5)  # not (1/4 + 1) / 2


def test_a_class_that_is_predicted_and_not_there_counts_as_zero():
    assert scores(np.array([[4, 0], [4, 1], [5, 0]]), "ab")["miou"] == pytest.approx((100 * 4 / 5 + 0) / 2)


def test_counts_of_a_large_data_set_are_summed_exactly():
    """Over one rank here; over two in tests/tasks."""
    tools = Tools(recipe_from({"task": "segmentation"}), World("CPU"))
    counts = np.array([[0, 1, 2**20 - 1, 2**20], [2**24 + 1, 123_456_789_012_345, 2**59 + 12_345, 2**60 - 1]])
    found = tools.total_counts(counts)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, counts)
