"""Suppression and masks at full size, by hand and against plain loops."""

import numpy as np
import pytest

from mindbyol.detection.detections import MOST, detect, iou, paste_mask, run_lengths, suppress


def test_iou_by_hand():
    boxes = np.float32([[0, 0, 10, 10], [5, 5, 5, 5]])
    others = np.float32([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [5, 5, 5, 5]])
    np.testing.assert_allclose(iou(boxes, others), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])
    # the legacy widths: 11 x 11 pixels each, 6 x 11 of them, and 1 x 11, common
    np.testing.assert_allclose(iou(boxes[:1], others[:3], 1), [[1, 66 / 176, 11 / 231]])


def suppress_in_loops(boxes, scores, overlap):
    kept = []
    for place in sorted(range(len(boxes)), key=lambda place: -scores[place]):
        if all(iou(boxes[place : place + 1], boxes[one : one + 1])[0, 0] <= overlap for one in kept):
            kept.append(place)
    return kept


def test_suppression_is_that_of_plain_loops():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (200, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (200, 2))], 1)
    scores = rng.integers(0, 50, 200) / 50  # with ties
    for overlap in (0.3, 0.5, 0.7):
        kept = suppress(boxes, scores, overlap)
        assert kept.tolist() == suppress_in_loops(boxes, scores, overlap) and 5 < len(kept) < 195


def test_a_box_that_overlaps_by_just_the_threshold_is_kept():
    boxes = np.float64([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 5.1]])
    assert suppress(boxes, np.array([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 1]


def test_each_class_is_suppressed_alone_and_boxes_go_back_to_the_image():
    boxes = np.zeros((3, 2, 4), np.float32)
    boxes[:, 0] = [[0, 0, 30, 40], [0, 0, 30, 38], [60, 60, 90, 90]]
    boxes[:, 1] = [[0, 0, 30, 40], [50, 0, 60, 10], [0, 0, 1, 1]]
    scores = np.float32([[0.5, 0.45], [0.6, 0.05], [0.051, 0.02]])
    found, proposals = detect(boxes, scores, np.float32([100, 150]), (50, 300))
    assert found.classes.tolist() == [0, 1, 0] and proposals.tolist() == [1, 0, 2]
    np.testing.assert_allclose(found.scores, [0.6, 0.45, 0.051])
    np.testing.assert_allclose(found.boxes, [[0, 0, 60, 19], [0, 0, 60, 20], [120, 30, 180, 45]])
    assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == (np.float32, np.float32, np.int32)


def test_at_most_a_hundred_are_left_the_best_ones():
    side = np.arange(300, dtype=np.float32)
    boxes = np.stack([10 * side, side * 0, 10 * side + 9, side * 0 + 9], 1)[:, None]
    scores = np.random.default_rng(0).permutation(np.linspace(0.1, 0.9, 300, dtype=np.float32))[:, None]
    found, proposals = detect(boxes, scores, (9, 3000), (9, 3000))
    np.testing.assert_array_equal(found.scores, np.sort(scores[:, 0])[::-1][:MOST])
    np.testing.assert_array_equal(found.boxes, boxes[proposals, 0])


def test_nothing_found_is_no_error():
    found, proposals = detect(np.zeros((4, 3, 4), np.float32), np.full((4, 3), 0.05, np.float32), (8, 8), (8, 8))
    assert found.boxes.shape == (0, 4) and len(found.scores) == len(found.classes) == len(proposals) == 0


def paste_in_loops(mask, box, height, width):
    """Of each pixel's middle, the bilinear value of the cells around it; cells beyond the mask are 0."""
    size, (x1, y1, x2, y2) = len(mask), box
    padded = np.pad(mask, 1)
    pasted = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            y = (row + 0.5 - y1) / (y2 - y1) * size - 0.5
            x = (column + 0.5 - x1) / (x2 - x1) * size - 0.5
            if not (-1 < y < size and -1 < x < size):
                continue
            top, left = int(np.floor(y)), int(np.floor(x))
            down, across = y - top, x - left
            for r, share_of_row in ((top, 1 - down), (top + 1, down)):
                for c, share in ((left, 1 - across), (left + 1, across)):
                    pasted[row, column] += share_of_row * share * padded[r + 1, c + 1]
    return pasted


@pytest.mark.parametrize("box", [(3.2, 4.1, 17.9, 15.5), (-4, -2.5, 9, 8), (10.5, 9.25, 40, 33), (5, 5, 6.5, 19)])
def test_a_mask_is_pasted_bilinearly(box):
    mask = np.random.default_rng(3).uniform(0, 1, (7, 7))
    expected = paste_in_loops(mask, box, 20, 24)
    sure = abs(expected - 0.5) > 1e-9
    found = paste_mask(mask, np.float32(box), 20, 24)
    assert found.dtype == np.uint8 and found.any()
    np.testing.assert_array_equal(found[sure], (expected >= 0.5)[sure])


def test_a_full_mask_fills_its_box_and_boxes_that_are_none_nothing():
    found = paste_mask(np.ones((28, 28)), np.float32([4, 6, 60, 62]), 70, 80)
    expected = np.zeros((70, 80), np.uint8)
    expected[6:62, 4:60] = 1
    np.testing.assert_array_equal(found, expected)
    for box in ([5, 5, 5, 9], [9, 9, 4, 4], [100, 100, 120, 120], [-30, -30, -4, -4]):
        assert not paste_mask(np.ones((28, 28)), np.float32(box), 70, 80).any()


def test_run_lengths_are_those_of_coco():
    coder = pytest.importorskip("pycocotools.mask", reason="requirements-dense.txt is not installed")
    masks = np.random.default_rng(0).integers(0, 2, (2, 9, 13)).astype(np.uint8)
    for mask, counts in zip(masks, run_lengths(masks)):
        np.testing.assert_array_equal(coder.decode({"size": [9, 13], "counts": counts}), mask)
