import numpy as np
import pytest

from mindbyol.detection import boxes as B
from mindbyol.detection.anchors import base_anchors, grid_anchors, inside
from tests.detection.graphs import gradient, in_graph, numeric_gradient, random_boxes

STDS = (0.1, 0.1, 0.2, 0.2)


def iou_of(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def decoded(deltas, anchors, stds):
    """In the words of the paper: p_x + p_w d_x, p_w exp(d_w)."""
    p_w, p_h = anchors[..., 2] - anchors[..., 0], anchors[..., 3] - anchors[..., 1]
    p_x, p_y = anchors[..., 0] + p_w / 2, anchors[..., 1] + p_h / 2
    d_x, d_y, d_w, d_h = np.moveaxis(deltas * np.array(stds), -1, 0)
    limit = np.log(62.5)
    x, y = p_x + p_w * d_x, p_y + p_h * d_y
    w, h = p_w * np.exp(np.clip(d_w, -limit, limit)), p_h * np.exp(np.clip(d_h, -limit, limit))
    return np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)


def test_overlaps_of_boxes():
    rng = np.random.default_rng(0)
    some, others = random_boxes(rng, 2, 5), random_boxes(rng, 2, 7)
    expected = [[[iou_of(a, b) for b in others[image]] for a in some[image]] for image in range(2)]
    np.testing.assert_allclose(in_graph(B.iou, some, others), expected, atol=1e-6)
    by_hand = in_graph(B.iou, np.float32([[0, 0, 4, 2]]), np.float32([[2, 0, 6, 2], [4, 0, 8, 2], [0, 0, 4, 2]]))
    np.testing.assert_allclose(by_hand, [[1 / 3, 0, 1]], atol=1e-6)  # with widths + 1 the first were 9 / 21


def test_empty_boxes_overlap_nothing():
    empty = np.zeros((1, 4), np.float32)
    np.testing.assert_array_equal(in_graph(B.iou, empty, np.float32([[0, 0, 0, 0], [-1, -1, 1, 1]])), [[0, 0]])


def test_what_is_encoded_is_decoded():
    rng = np.random.default_rng(1)
    anchors, objects = random_boxes(rng, 6), random_boxes(rng, 6)
    anchors[:, 2:] += 5
    objects[:, 2:] += 5
    by_hand = in_graph(B.encode, np.float32([[0, 0, 10, 20]]), np.float32([[10, 0, 30, 10]]))
    np.testing.assert_allclose(by_hand, [[1.5, -0.25, np.log(2), np.log(0.5)]], atol=1e-6)
    deltas = in_graph(B.encode, anchors, objects, constants=(STDS,))
    np.testing.assert_allclose(decoded(deltas, anchors, STDS), objects, atol=1e-3)
    found = in_graph(B.decode, anchors, deltas, constants=(STDS,))
    np.testing.assert_allclose(found, objects, atol=1e-3)


def test_padding_is_encoded_as_finite_numbers():
    padding = np.zeros((1, 4), np.float32)
    assert np.isfinite(in_graph(B.encode, padding, padding)).all()


def test_boxes_grow_and_shrink_up_to_a_limit():
    anchors = np.float32([[0, 0, 16, 16]])
    deltas = np.float32([[0, 0, 9, -9]])
    np.testing.assert_allclose(in_graph(B.decode, anchors, deltas), [[-492, 8 - 0.128, 508, 8 + 0.128]], rtol=1e-5)


def _decode(deltas, anchors):
    return B.decode(anchors, deltas, STDS)


def test_gradient_of_decoding():
    rng = np.random.default_rng(2)
    anchors, weights = random_boxes(rng, 4), rng.normal(size=(4, 4)).astype(np.float32)
    deltas = rng.normal(size=(4, 4)).astype(np.float32)
    deltas[0, 2:] = 30, -30  # beyond the limit: no gradient
    found = gradient(_decode, weights, deltas, anchors)
    expected = numeric_gradient(decoded, weights, deltas, anchors.astype(np.float64), STDS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert (found[0, 2:] == 0).all()


@pytest.mark.parametrize("shape", [(2, 1, 4), (2, 1, 1, 4)])
def test_boxes_are_clipped_to_their_own_image(shape):
    boxes = np.broadcast_to(np.float32([-3, -2, 50, 60]), shape)
    sizes = np.float32([[20, 30], [90, 40]])
    expected = np.float32([[0, 0, 30, 20], [0, 0, 40, 60]]).reshape(shape)
    np.testing.assert_array_equal(in_graph(B.clip, boxes, sizes), expected)


def test_which_boxes_have_an_area():
    boxes = np.float32([[0, 0, 1, 1], [0, 0, 0, 1], [0, 5, 1, 5], [3, 0, 2, 1]])
    assert in_graph(B.has_area, boxes).tolist() == [True, False, False, False]


def test_anchors_of_c4():
    """Areas are kept and the centre is the corner of the cell; two of the boxes by hand."""
    anchors = base_anchors(16, (2, 4, 8, 16, 32), (0.5, 1, 2))
    assert anchors.shape == (15, 4)
    np.testing.assert_allclose(anchors[5], [-16, -16, 16, 16])
    np.testing.assert_allclose(anchors[14], [-181.0193, -362.0387, 181.0193, 362.0387], rtol=1e-6)
    sides = anchors[:, 2:] - anchors[:, :2]
    np.testing.assert_allclose(sides.prod(1), np.tile([32**2, 64**2, 128**2, 256**2, 512**2], 3), rtol=1e-5)
    np.testing.assert_allclose(sides[:, 1] / sides[:, 0], np.repeat([0.5, 1, 2], 5), rtol=1e-5)
    grid = grid_anchors(3, 2, 16, (2, 4, 8, 16, 32), (0.5, 1, 2))
    assert grid.shape == (3, 2, 15, 4)
    np.testing.assert_allclose(grid[2, 1] - anchors, np.broadcast_to([16, 32, 16, 32], (15, 4)), atol=1e-4)


def test_only_anchors_within_the_image_without_its_padding_are_inside():
    anchors = np.float32([[0, 0, 9, 9], [-1, 0, 9, 9], [0, -1, 9, 9], [0, 0, 10, 9], [0, 0, 9, 10], [0, 0, 15, 9]])
    found = in_graph(inside, anchors, np.float32([[10, 10], [10, 16]]))
    assert found.tolist() == [[True, False, False, False, False, False], [True, False, False, True, False, True]]
