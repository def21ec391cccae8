import numpy as np
import pytest

from mindbyol.detection.losses import box_loss, class_loss, objectness_loss
from mindbyol.detection.rpn import rpn_losses
from tests.detection.graphs import gradient, in_graph, numeric_gradient
from tests.detection.test_assignment import assigned
from tests.detection.test_boxes import iou_of

IS_POSITIVE = np.array([[True, False, True, False], [False, False, True, False]])
IS_DRAWN = np.array([[True, True, True, False], [True, True, True, False]])  # 6 in all


def objectness(scores, is_positive, is_drawn):
    right = 1 / (1 + np.exp(np.where(is_positive, -scores, scores)))
    return -np.log(right)[is_drawn].sum() / is_drawn.sum()


def of_classes(logits, classes, is_drawn):
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return -np.log(np.take_along_axis(shares, classes[..., None], -1))[is_drawn].sum() / is_drawn.sum()


def of_boxes(deltas, targets, is_positive, is_drawn):
    return np.abs(deltas - targets)[is_positive].sum() / is_drawn.sum()


def cases():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 4)).astype(np.float32)
    logits, deltas, targets = (rng.normal(size=(2, 4, 3)).astype(np.float32) for _ in range(3))
    classes = rng.integers(0, 3, (2, 4)).astype(np.int32)
    return {
        "objectness": (objectness_loss, objectness, (scores, IS_POSITIVE, IS_DRAWN)),
        "classes": (class_loss, of_classes, (logits, classes, IS_DRAWN)),
        "boxes": (box_loss, of_boxes, (deltas, targets, IS_POSITIVE, IS_DRAWN)),
    }


@pytest.mark.parametrize("kind", ["objectness", "classes", "boxes"])
def test_losses_and_their_gradients(kind):
    loss, reference, arrays = cases()[kind]
    assert in_graph(loss, *arrays) == pytest.approx(reference(*arrays), rel=1e-5)
    expected = numeric_gradient(reference, 1.0, *arrays)
    np.testing.assert_allclose(gradient(loss, np.float32(1), *arrays), expected, atol=1e-5)


def test_losses_of_nothing_are_zero():
    nothing = np.zeros((2, 4), bool)
    assert in_graph(objectness_loss, cases()["objectness"][2][0], nothing, nothing) == 0


def test_large_scores_give_finite_losses():
    there = np.ones((1, 2), bool)
    found = in_graph(objectness_loss, np.float32([[200, -200]]), np.array([[False, True]]), there)
    assert found == pytest.approx(200)


def test_losses_of_the_region_proposal_network():
    """All anchors that may be drawn are drawn: then there is nothing random, and a loop says what is to come out."""
    rng = np.random.default_rng(3)
    corners = rng.uniform(-4, 40, (60, 2))
    anchors = np.concatenate([corners, corners + rng.uniform(8, 24, (60, 2))], 1).astype(np.float32)
    objects = np.float32([[[4, 4, 20, 24], [18, 10, 40, 30], [0, 0, 0, 0]]])
    is_object = np.array([[True, True, False]])
    scores = rng.normal(size=(1, 60)).astype(np.float32)
    deltas = rng.normal(size=(1, 60, 4)).astype(np.float32)
    keys = rng.random((1, 60)).astype(np.float32)
    inside = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2] < 48) & (anchors[:, 3] < 44)
    overlaps = np.array([[iou_of(one, anchor) for anchor in anchors] for one in objects[0, :2]])
    labels, matched = assigned(overlaps, is_object[0, :2], inside, 0.7, 0.3, 0.3)
    positive, used = labels == 1, labels >= 0
    assert 0 < positive.sum() < 30 and used.sum() < 60
    expected_scores = objectness(scores[0], positive, used)
    expected_boxes = 0
    for place in np.flatnonzero(positive):
        a, o = anchors[place].astype(float), objects[0, matched[place]].astype(float)
        w, h = a[2] - a[0], a[3] - a[1]
        target = [(o[0] + o[2] - a[0] - a[2]) / 2 / w, (o[1] + o[3] - a[1] - a[3]) / 2 / h]
        target += [np.log((o[2] - o[0]) / w), np.log((o[3] - o[1]) / h)]
        expected_boxes += np.abs(deltas[0, place] - target).sum() / used.sum()
    arrays = scores, deltas, anchors, inside[None], objects, is_object, keys
    found = in_graph(rpn_losses, *arrays, constants=(60, 30))
    np.testing.assert_allclose(found, [expected_scores, expected_boxes], rtol=1e-4)
