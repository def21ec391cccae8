import numpy as np
import pytest

from mindbyol.detection import proposals
from mindbyol.detection.proposals import Propose, ProposeOnLevels, Suppress
from tests.detection.graphs import in_graph, random_boxes
from tests.detection.test_boxes import decoded, iou_of


def suppressed(boxes, takes_part, threshold):
    """Greedy, one box after the other."""
    kept = []
    for number, box in enumerate(boxes):
        if takes_part[number] and all(iou_of(box, boxes[before]) <= threshold for before in kept):
            kept.append(number)
    return np.isin(np.arange(len(boxes)), kept)


@pytest.mark.parametrize("tile", [2048, 16])
def test_near_copies_are_suppressed(tile, monkeypatch):
    """In one tile, and in five that know of each other."""
    monkeypatch.setattr(proposals, "TILE", tile)
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng, 70) + np.float32([0, 0, 9, 9])
    takes_part = rng.random(70) < 0.8
    expected = suppressed(boxes, takes_part, 0.5)
    assert 10 < expected.sum() < takes_part.sum() - 10
    np.testing.assert_array_equal(in_graph(Suppress(0.5), boxes, takes_part), expected)


def test_chains_are_suppressed_greedily():
    """The third overlaps the second alone, which is gone."""
    boxes = np.float32([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]])
    assert in_graph(Suppress(0.5), boxes, np.ones(3, bool)).tolist() == [True, False, True]
    assert in_graph(Suppress(0.5), boxes, np.array([False, True, True])).tolist() == [False, True, False]


def test_proposals_are_the_best_of_what_is_left():
    rng = np.random.default_rng(1)
    anchors = random_boxes(rng, 60)
    scores = rng.normal(size=(2, 60)).astype(np.float32)
    deltas = (0.3 * rng.normal(size=(2, 60, 4))).astype(np.float32)
    sizes = np.float32([[64, 64], [40, 30]])
    boxes, are_proposals = in_graph(Propose(40, 0.6, 25), scores, deltas, anchors, sizes)
    assert boxes.shape == (2, 25, 4)
    for image, (height, width) in enumerate(sizes):
        order = np.argsort(-scores[image])[:40]
        expected = decoded(deltas[image, order], anchors[order], (1, 1, 1, 1))
        expected = np.clip(expected, 0, [width, height, width, height])
        has_area = (expected[:, 2] > expected[:, 0]) & (expected[:, 3] > expected[:, 1])
        expected = expected[suppressed(expected, has_area, 0.6)][:25]
        count = len(expected)
        assert are_proposals[image].tolist() == [True] * count + [False] * (25 - count)
        np.testing.assert_allclose(boxes[image, :count], expected, atol=1e-3)
        assert (boxes[image, count:] == 0).all()
    assert are_proposals[0].all() and not are_proposals[1].all()


def test_proposals_of_several_maps_are_suppressed_on_their_own_and_ranked_together():
    rng = np.random.default_rng(2)
    anchors = [random_boxes(rng, count) for count in (40, 12)]
    scores = [rng.normal(size=(2, len(one))).astype(np.float32) for one in anchors]
    deltas = [(0.3 * rng.normal(size=(2, len(one), 4))).astype(np.float32) for one in anchors]
    sizes = np.float32([[64, 64], [40, 30]])
    cell = ProposeOnLevels(20, 0.5, 22)

    def propose(*arrays):
        return cell(arrays[:2], arrays[2:4], arrays[4:6], arrays[6])

    boxes, are_proposals = in_graph(propose, *scores, *deltas, *anchors, sizes)
    assert boxes.shape == (2, 22, 4)
    for image, (height, width) in enumerate(sizes):
        left = []
        for of_scores, of_deltas, of_anchors in zip(scores, deltas, anchors):
            order = np.argsort(-of_scores[image])[:20]
            found = decoded(of_deltas[image, order], of_anchors[order], (1, 1, 1, 1))
            found = np.clip(found, 0, [width, height, width, height])
            has_area = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
            kept = suppressed(found, has_area, 0.5)
            left += list(zip(of_scores[image, order][kept], found[kept]))
        expected = [box for _, box in sorted(left, key=lambda one: -one[0])][:22]
        count = len(expected)
        assert are_proposals[image].tolist() == [True] * count + [False] * (22 - count)
        np.testing.assert_allclose(boxes[image, :count], expected, atol=1e-3)
        assert (boxes[image, count:] == 0).all()
