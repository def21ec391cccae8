import math

import numpy as np
import pytest

from mindbyol.detection.roi_align import roi_align
from tests.detection.graphs import gradient, in_graph, numeric_gradient, random_boxes

SCALE, OUT = 0.25, 3


def bilinear(map_, y, x):
    """A value between four cells, as RoIAlign has it at the edges: (C, H, W) to (C,)."""
    height, width = map_.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(len(map_))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    y, x = y - top, x - left
    upper = map_[:, top, left] * (1 - x) + map_[:, top, right] * x
    lower = map_[:, bottom, left] * (1 - x) + map_[:, bottom, right] * x
    return upper * (1 - y) + lower * y


def aligned(maps, boxes, scale, out):
    """Sample by sample."""
    found = []
    for map_, of_map in zip(maps, boxes):
        for box in of_map:
            x1, y1, x2, y2 = box.astype(np.float64) * scale - 0.5
            rows, columns = math.ceil((y2 - y1) / out), math.ceil((x2 - x1) / out)
            bins = np.zeros((len(map_), out, out))
            for i, j, m, n in np.ndindex(out, out, rows, columns):
                y = y1 + (i + (m + 0.5) / rows) * (y2 - y1) / out
                x = x1 + (j + (n + 0.5) / columns) * (x2 - x1) / out
                bins[:, i, j] += bilinear(map_, y, x) / (rows * columns)
            found.append(bins)
    return np.array(found)


def maps_and_boxes():
    """Boxes of one sample a bin and of several, one at each edge, the whole image, and a tiny one."""
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 3, 7, 10)).astype(np.float32)
    boxes = random_boxes(rng, 2, 6, side=28)
    boxes[:, 0] = 0, 0, 40, 28
    boxes[:, 1] = 39, 27.5, 40, 28
    boxes[:, 2] = 0, 0, 0.1, 0.2
    return maps, boxes


@pytest.mark.parametrize("out", [3, 7, 14])
def test_bins_are_means_of_samples(out):
    maps, boxes = maps_and_boxes()
    found = in_graph(roi_align, maps, boxes, constants=(SCALE, out))
    np.testing.assert_allclose(found, aligned(maps, boxes, SCALE, out), atol=2e-5)


def test_gradient_goes_to_the_cells_that_were_sampled():
    maps, boxes = maps_and_boxes()
    weights = np.random.default_rng(1).normal(size=(12, 3, OUT, OUT)).astype(np.float32)
    found = gradient(roi_align, weights, maps, boxes, constants=(SCALE, OUT))
    np.testing.assert_allclose(
        found, numeric_gradient(aligned, weights, maps, boxes, SCALE, OUT, step=1e-3), rtol=1e-3, atol=1e-4
    )


def test_a_plane_stays_a_plane():
    """On a map whose value is the column, a bin is the column of its centre."""
    maps = np.broadcast_to(np.arange(10, dtype=np.float32), (1, 1, 8, 10)).copy()
    found = in_graph(roi_align, maps, np.float32([[[2, 1, 6, 5]]]), constants=(1.0, 2))
    np.testing.assert_allclose(found[0, 0], [[2.5, 4.5], [2.5, 4.5]], atol=1e-6)


def test_a_box_without_area_gives_finite_numbers():
    maps, _ = maps_and_boxes()
    found = in_graph(roi_align, maps[:1], np.zeros((1, 1, 4), np.float32), constants=(SCALE, OUT))
    np.testing.assert_allclose(found[0], np.broadcast_to(maps[0, :, :1, :1], (3, OUT, OUT)), atol=1e-6)
