import math
from types import SimpleNamespace

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor

from mindbyol.backbones import create_backbone
from mindbyol.evaluation.stage_pooling import StagePooling, layers_of
from mindbyol.stages import MAP_NAMES

SIDES = (112, 56, 28, 14, 7)
# Of `ramp(side)`: what PyTorch 2.13 gave in float64 for AvgPool2d(10, 10, 4), whose padding counts, (16, 8), (13, 5),
# (8, 3) and (6, 1): side, [0, 0, 0], [0, 0, -1], [0, -1, -1], [1, 1, 0], and the sum of all squares.
TORCH_AVERAGES = [
    (12, -0.025, -0.01375, -0.0275, -0.00375, 1.275141),
    (6, 0.06543, 0.068848, 0.0625, 0.037109, 0.196966),
    (4, 0.089497, 0.068047, 0.008876, 0.056953, 0.136881),
    (3, -0.0625, 0.070312, 0.193359, 0.021484, 0.137657),
    (2, -0.069444, -0.017361, -0.0625, 0.027778, 0.015107),
]
# The same for AdaptiveAvgPool2d(12) of a map of 16, (6) of 13 and (4) of 9.
TORCH_ADAPTIVE = [
    (12, -0.21875, -0.15625, 0.28125, -0.3125, 32.211914),
    (6, -0.083333, 0.333333, 0.875, 0.0, 3.652006),
    (4, -0.083333, -0.069444, 0.041667, 0.0, 0.259645),
]


def ramp(side, channels=2):
    i, j = np.indices((side, side))
    maps = [(13 * c + 7 * i + 5 * j + i * j) % 17 / 8 - 1 for c in range(channels)]
    return np.stack(maps)[None].astype(np.float32)


def backbone_of(sides, channels):
    """What the pooling asks of a backbone."""
    return SimpleNamespace(map_names=MAP_NAMES[: len(sides)], map_sides=sides, map_channels=channels)


def pool(sides, layers=None):
    """In a compiled graph."""
    ms.set_context(mode=ms.GRAPH_MODE)
    pooling = StagePooling(backbone_of(sides, (2,) * len(sides)), layers)
    found = pooling(tuple(Tensor(ramp(side)) for side in sides))
    assert tuple(array.shape[1:] for array in found) == pooling.shapes
    return [array.asnumpy() for array in found]


def check(found, facts):
    assert len(found) == len(facts)
    for array, (side, *values) in zip(found, facts):
        assert array.shape == (1, 2, side, side)
        y = array[0].astype(np.float64)
        np.testing.assert_allclose([y[0, 0, 0], y[0, 0, -1], y[0, -1, -1], y[1, 1, 0], (y**2).sum()], values, atol=2e-6)


def test_maps_of_224_pixels_are_pooled_as_pytorch_does():
    check(pool(SIDES), TORCH_AVERAGES)


def test_other_maps_are_pooled_adaptively_and_small_ones_are_kept():
    found = pool((16, 13, 9, 2, 1))
    check(found[:3], TORCH_ADAPTIVE)
    np.testing.assert_array_equal(found[3], ramp(2))
    np.testing.assert_array_equal(found[4], ramp(1))


def test_the_features_of_a_resnet50_have_the_published_sizes():
    pooling = StagePooling(backbone_of(SIDES, (64, 256, 512, 1024, 2048)))
    assert pooling.layers == ("feature1", "feature2", "feature3", "feature4", "feature5")
    assert [math.prod(shape) for shape in pooling.shapes] == [9216, 9216, 8192, 9216, 8192]


def test_layers_come_in_the_order_of_the_network():
    pooling = StagePooling(backbone_of((64, 56, 7), (2, 2, 2)), ["feature2", "feature1"])
    assert pooling.layers == ("feature1", "feature2") and pooling.shapes == ((2, 12, 12), (2, 6, 6))
    check(pool(SIDES, ["feature5"]), TORCH_AVERAGES[4:])


def test_a_backbone_with_fewer_stages_has_fewer_layers():
    backbone = create_backbone("resnet18", image_size=16, stages=2)
    pooling = StagePooling(backbone)
    assert pooling.layers == ("feature1", "feature2", "feature3")
    assert pooling.shapes == ((64, 8, 8), (64, 4, 4), (128, 2, 2))
    with pytest.raises(ValueError, match="^layers: this backbone has no feature4, only feature1, feature2, feature3: "):
        layers_of(backbone, ["feature1", "feature4"])
    with pytest.raises(ValueError, match="^model: 'squeezenet1_0' has no stages that could be told"):
        layers_of(create_backbone("squeezenet1_0"))
