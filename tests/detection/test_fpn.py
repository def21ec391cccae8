import math

import numpy as np
import pytest

from mindspore import Tensor

from mindbyol.detection.fpn import FPN, REGION_STRIDES, PyramidAlign, level_of, twice_as_large
from tests.detection.graphs import gradient, in_graph, numeric_gradient, random_boxes
from tests.detection.test_roi_align import bilinear

SIDE, OUT = 64, 3


def maps_and_boxes():
    """Maps of an image of 64 pixels a side, and boxes: of all levels, at each edge, all of the image, a tiny one."""
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(2, 2, SIDE // stride, SIDE // stride)).astype(np.float32) for stride in REGION_STRIDES]
    boxes = random_boxes(rng, 2, 8, side=SIDE)
    boxes[:, 0] = 0, 0, 64, 64
    boxes[:, 1] = 60, 61, 64, 64
    boxes[:, 2] = 0, 0, 0.1, 0.2
    boxes[:, 3] = 0, 0, 640, 640  # beyond the image, so that it is of the coarsest map
    boxes[:, 4] = -100, -90, 200, 160
    return maps, boxes


def level(box):
    """As the paper's formula and MMDetection have it."""
    width, height = max(box[2] - box[0], 0), max(box[3] - box[1], 0)
    return int(min(max(math.floor(math.log2(math.sqrt(width * height) / 56 + 1e-6)), 0), 3))


def aligned(maps, boxes, only=None):
    """Sample by sample, two along each side of a bin; of boxes of one level, if asked for."""
    found = []
    for image, of_image in enumerate(boxes):
        for box in of_image:
            place = level(box)
            map_ = maps[place][image]
            bins = np.zeros((len(map_), OUT, OUT))
            x1, y1, x2, y2 = box.astype(np.float64) / REGION_STRIDES[place] - 0.5
            for i, j, m, n in np.ndindex(OUT, OUT, 2, 2):
                y, x = y1 + (i + (m + 0.5) / 2) * (y2 - y1) / OUT, x1 + (j + (n + 0.5) / 2) * (x2 - x1) / OUT
                bins[:, i, j] += bilinear(map_, y, x) / 4
            found.append(bins if only in (None, place) else 0 * bins)
    return np.array(found)


def pyramid_align(p2, p3, p4, p5, boxes, align):
    return align((p2, p3, p4, p5), boxes)


def test_a_box_is_looked_at_on_the_map_of_its_size():
    sides = [1, 56, 111.99, 112, 112.01, 223.9, 224, 447.9, 448, 896, 4000]
    boxes = np.float32([[5, 7, 5 + side, 7 + side] for side in sides])
    assert in_graph(level_of, boxes).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3] == [level(box) for box in boxes]
    assert in_graph(level_of, np.float32([[0, 0, 28, 448], [0, 0, 27, 448], [9, 9, 9, 9]])).tolist() == [1, 0, 0]


def test_bins_are_means_of_samples_of_one_map():
    maps, boxes = maps_and_boxes()
    assert {level(box) for box in boxes[0]} >= {0, 2, 3}
    found = in_graph(pyramid_align, *maps, boxes, constants=(PyramidAlign(OUT),))
    np.testing.assert_allclose(found, aligned(maps, boxes), atol=2e-5)


@pytest.mark.parametrize("place", [0, 2])
def test_gradient_goes_to_the_cells_that_were_sampled(place):
    maps, boxes = maps_and_boxes()
    maps, boxes = [map_[:1, :1] for map_ in maps], boxes[:1]
    weights = np.random.default_rng(1).normal(size=(boxes.shape[1], 1, OUT, OUT)).astype(np.float32)
    align = PyramidAlign(OUT)

    def of_one_map(map_, *others):
        in_order = others[:place] + (map_,) + others[place:3]
        return align(in_order, others[3])

    others = [map_ for number, map_ in enumerate(maps) if number != place]
    found = gradient(of_one_map, weights, maps[place], *others, boxes)

    def reference(map_):
        return aligned([map_ if number == place else other for number, other in enumerate(maps)], boxes, place)

    np.testing.assert_allclose(
        found, numeric_gradient(reference, weights, maps[place], step=1e-3), rtol=1e-3, atol=1e-4
    )


def test_a_pyramid_adds_what_is_above():
    """Without its batch norms' effect: they are at their start, in evaluation mode."""
    rng = np.random.default_rng(2)
    network = FPN((3, 4, 5, 6), 2).set_train(False)
    maps = [rng.normal(size=(1, 3 + place, 16 // 2**place, 24 // 2**place)).astype(np.float32) for place in range(4)]
    found = in_graph(network, *maps)
    assert [one.shape for one in found] == [(1, 2, 16, 24), (1, 2, 8, 12), (1, 2, 4, 6), (1, 2, 2, 3), (1, 2, 1, 2)]

    scale = 1 / np.sqrt(1 + 1e-5)
    merged = [
        np.einsum("oi,bihw->bohw", lateral[0].weight.asnumpy()[:, :, 0, 0], map_) * scale
        for lateral, map_ in zip(network.laterals, maps)
    ]
    for place in (2, 1, 0):
        merged[place] = merged[place] + merged[place + 1].repeat(2, 2).repeat(2, 3)
    for place, (output, map_) in enumerate(zip(network.outputs, merged)):
        padded = np.pad(map_, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        expected = np.einsum("oiyx,bihwyx->bohw", output[0].weight.asnumpy(), windows) * scale
        np.testing.assert_allclose(found[place], expected, atol=1e-4)
    np.testing.assert_array_equal(found[4], found[3][:, :, ::2, ::2])


def test_gradient_of_a_map_that_is_made_larger():
    weights = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    found = gradient(twice_as_large, weights, np.zeros((1, 2, 2, 2), np.float32))
    np.testing.assert_array_equal(found[0, 0], [[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]])


def test_weights_start_as_those_of_mmdetection():
    network = FPN((64, 64, 64, 64), 32)
    weight = Tensor(network.outputs[0][0].weight).asnumpy()
    limit = math.sqrt(6 / (9 * 32 + 9 * 32))  # Xavier, uniform
    assert 0.9 * limit < abs(weight).max() <= limit
    assert network.laterals[0][0].bias is None
