import numpy as np
import pytest

from mindbyol.detection.assignment import assign, sample, take
from tests.detection.graphs import in_graph


def assigned(overlaps, is_object, takes_part, positive, negative, lowest):
    """Object by object and box by box, for one image, as the papers tell it."""
    labels = np.full(overlaps.shape[1], -1)
    matched = np.zeros(overlaps.shape[1], int)
    objects = np.flatnonzero(is_object)
    for box in np.flatnonzero(takes_part):
        best = max(objects, key=lambda number: overlaps[number, box], default=None)
        largest = -1 if best is None else overlaps[best, box]
        if largest >= positive:
            labels[box], matched[box] = 1, best
        elif largest < negative:
            labels[box] = 0
    for number in objects if lowest is not None and takes_part.any() else ():
        best = overlaps[number, takes_part].max()
        for box in np.flatnonzero(takes_part):
            if best >= lowest and overlaps[number, box] == best:
                labels[box], matched[box] = 1, number
    return labels, matched


@pytest.mark.parametrize("limits", [(0.7, 0.3, 0.3), (0.5, 0.5, None), (0.5, 0.5, 0.5)])
def test_boxes_get_the_objects_that_the_loop_gives_them(limits):
    rng = np.random.default_rng(0)
    overlaps = (rng.integers(0, 11, (4, 5, 60)) / 10).astype(np.float32)  # full of ties
    overlaps[1] *= 0.4
    is_object = rng.random((4, 5)) < 0.6
    is_object[2] = False
    takes_part = rng.random((4, 60)) < 0.8
    takes_part[3, :] = False
    found = in_graph(assign, overlaps, is_object, takes_part, constants=limits)
    in_float32 = [limit and np.float32(limit) for limit in limits]
    for image in range(4):
        labels, matched = assigned(overlaps[image], is_object[image], takes_part[image], *in_float32)
        np.testing.assert_array_equal(found[0][image], labels)
        np.testing.assert_array_equal(found[1][image][labels == 1], matched[labels == 1])
    assert (found[0][2][takes_part[2]] == 0).all() and (found[0][3] == -1).all()


def test_ties_by_hand():
    """Object 1 overlaps boxes 0 and 1 most, and takes box 0 from object 0; object 2 is too far away to take any."""
    overlaps = np.float32([[[0.8, 0.2, 0.5, 0.1], [0.4, 0.4, 0.3, 0.1], [0.1, 0.1, 0.2, 0.25]]])
    there = np.ones((1, 3), bool), np.ones((1, 4), bool)
    labels, matched = in_graph(assign, overlaps, *there, constants=(0.7, 0.3, 0.3))
    assert labels.tolist() == [[1, 1, -1, 0]] and matched[0, :2].tolist() == [1, 1]


@pytest.mark.parametrize("positives, negatives", [(3, 50), (20, 50), (20, 4), (0, 50), (0, 0), (20, 0)])
def test_so_many_are_drawn(positives, negatives):
    rng = np.random.default_rng(1)
    labels = np.full((2, 100), -1, np.int32)
    labels[:, :positives] = 1
    labels[:, positives : positives + negatives] = 0
    keys = rng.random((2, 100)).astype(np.float32)
    for image in range(2):
        order = rng.permutation(100)
        labels[image] = labels[image, order]
    places, is_positive, is_drawn = in_graph(sample, labels, keys, constants=(16, 4))
    taken = min(positives, 4)
    rest = min(negatives, 16 - taken)
    assert places.shape == is_positive.shape == is_drawn.shape == (2, 16)
    for image in range(2):
        assert is_drawn[image].tolist() == [True] * (taken + rest) + [False] * (16 - taken - rest)
        assert (is_positive & is_drawn)[image].sum() == taken and is_positive[image].sum() == taken
        drawn = places[image, is_drawn[image]]
        assert len(set(drawn.tolist())) == len(drawn)
        assert (labels[image, drawn] == [1] * taken + [0] * rest).all()
        for label, count in ((1, taken), (0, rest)):  # those with the highest keys
            of_label = np.flatnonzero(labels[image] == label)
            highest = of_label[np.argsort(-keys[image, of_label])][:count]
            assert set(drawn[labels[image, drawn] == label].tolist()) == set(highest.tolist())


def test_no_more_are_drawn_than_there_are():
    labels = np.int32([[1, 0, 0]])
    places, is_positive, is_drawn = in_graph(sample, labels, np.float32([[0, 0.5, 0.2]]), constants=(16, 4))
    assert places.tolist() == [[0, 1, 2]] and is_positive.tolist() == [[True, False, False]] and is_drawn.all()


def test_rows_are_taken_by_image():
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    places = np.int32([[2, 2], [0, 1]])
    np.testing.assert_array_equal(in_graph(take, values, places), [[[4, 5], [4, 5]], [[6, 7], [8, 9]]])
    np.testing.assert_array_equal(in_graph(take, values[..., 0] > 3, places), [[True, True], [True, True]])
