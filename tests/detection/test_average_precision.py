"""VOC's average precision, by hand."""

import numpy as np
import pytest

from mindbyol.data.objects import Objects
from mindbyol.detection.average_precision import average_precision, match, voc_scores


def hits(boxes, objects, neutral=None, threshold=0.5):
    objects = np.float32(objects).reshape(-1, 4)
    neutral = np.zeros(len(objects), bool) if neutral is None else np.array(neutral)
    return match(np.float32(boxes).reshape(-1, 4), objects, neutral, threshold).tolist()


BOX, OTHER = (10, 10, 29, 29), (100, 100, 119, 119)  # 20 x 20 pixels each


def test_an_object_is_found_once():
    assert hits([BOX, BOX, OTHER], [BOX]) == [1, 0, 0]
    assert hits([BOX, OTHER, OTHER], [OTHER, BOX]) == [1, 1, 0]
    assert hits([BOX], []) == [0] and hits([], [BOX]) == []


def test_what_belongs_to_a_difficult_object_does_not_count_however_often():
    assert hits([BOX, BOX, OTHER], [BOX], [True]) == [-1, -1, 0]
    assert hits([BOX, OTHER], [BOX, OTHER], [False, True]) == [1, -1]


def test_a_detection_belongs_to_the_object_that_it_overlaps_most_alone():
    near, between = (14, 10, 33, 29), (13, 10, 32, 29)  # 16, and 19 of 20 columns in common with `near`
    assert hits([near, between], [BOX, near]) == [1, 0]  # the second could have had the other object


def test_widths_are_those_of_the_last_pixels():
    # rows 0 to 9 of 10 columns, and rows 0 to 4: with the last pixels 5 / 10, without 4 / 9
    assert hits([(0, 0, 9, 4)], [(0, 0, 9, 9)]) == [1]
    assert hits([(0, 0, 9, 3.99)], [(0, 0, 9, 9)]) == [0]


def test_eleven_points_by_hand():
    # 4 objects; hit, false, hit, hit: recall 1/4, 1/4, 2/4, 3/4, precision 1, 1/2, 2/3, 3/4
    scores, found = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 1])
    expected = (3 * 1 + 5 * 0.75) / 11  # recalls 0, 0.1, 0.2; then 0.3 to 0.7
    assert average_precision(scores, found, 4, "11points") == pytest.approx(expected)
    assert average_precision(scores, found, 4, "area") == pytest.approx(0.25 * 1 + 0.5 * 0.75)
    order = [2, 0, 3, 1]
    assert average_precision(scores[order], found[order], 4, "11points") == pytest.approx(expected)


def test_what_does_not_count_changes_nothing():
    scores, found = np.array([0.95, 0.9, 0.85, 0.8, 0.7, 0.6]), np.array([-1, 1, -1, 0, 1, 1])
    for mode in ("11points", "area"):
        without = average_precision(scores[found >= 0], found[found >= 0], 4, mode)
        assert average_precision(scores, found, 4, mode) == without


def test_all_found_is_one_nothing_found_is_nought_and_no_objects_have_no_precision():
    for mode in ("11points", "area"):
        assert average_precision(np.array([0.9, 0.8]), np.array([1, 1]), 2, mode) == pytest.approx(1)
        assert average_precision(np.array([0.9]), np.array([0]), 2, mode) == 0
        assert average_precision(np.zeros(0), np.zeros(0, int), 2, mode) == 0
        assert np.isnan(average_precision(np.array([0.9]), np.array([0]), 0, mode))


def test_a_recall_below_a_step_by_rounding_is_below_it():
    # 3 of 10 found, all right: VOC's own code, and MMDetection, count the steps 0, 0.1 and 0.2, as 3 * 0.1 is above 0.3
    assert average_precision(np.ones(3), np.ones(3, int), 10, "11points") == pytest.approx(3 / 11)


def objects(boxes, classes, neutral):
    return Objects(np.float32(boxes).reshape(-1, 4), np.int32(classes), np.array(neutral, bool), None)


TARGETS = [
    objects([BOX, OTHER, (50, 50, 90, 90)], [0, 1, 0], [False, False, True]),
    objects([BOX, OTHER], [0, 0], [False, False]),
    objects([], [], []),
]
ROWS = np.float32(
    [
        (2, 0, 0.95, *BOX),  # false: there is nothing in that image
        (1, 0, 0.90, *OTHER),
        (0, 0, 0.85, 50, 50, 91, 90),  # of a difficult object
        (0, 0, 0.80, *BOX),
        (0, 1, 0.60, *BOX),  # right box, other class
        (0, 1, 0.50, *OTHER),
    ]
)


def test_scores_of_a_set_by_hand():
    # class a: 3 objects that count; false, hit, -, hit: recall 0, 1/3, 2/3; precision 0, 1/2, 2/3
    # class b: 1 object; false, hit: recall 0, 1; precision 0, 1/2
    area = {"ap50": 100 * (4 / 9 + 1 / 2) / 2, "ap50_a": 100 * 4 / 9, "ap50_b": 50}
    points = {"ap50": 100 * (7 * (2 / 3) / 11 + 1 / 2) / 2, "ap50_a": 100 * 7 * (2 / 3) / 11, "ap50_b": 50}
    for order in (slice(None), [3, 5, 1, 0, 4, 2]):
        found = voc_scores(ROWS[order], TARGETS, ["a", "b", "no such object"], "area")
        assert found == pytest.approx(area)
        assert voc_scores(ROWS[order], TARGETS, ["a", "b", "no such object"], "11points") == pytest.approx(points)


def test_another_threshold_has_its_own_name_and_nothing_found_scores_nought():
    assert voc_scores(ROWS, TARGETS, ["a", "b"], "area", 0.75)["ap75"] == pytest.approx(100 * (4 / 9 + 1 / 2) / 2)
    assert voc_scores(ROWS[:0], TARGETS, ["a", "b"], "area") == {"ap50": 0, "ap50_a": 0, "ap50_b": 0}
    assert np.isnan(voc_scores(ROWS[:0], [], ["a"], "area")["ap50"])
