"""Pools the maps behind a backbone's stem and stages to some 9,000 numbers each: `feature1` to `feature5`.

The protocols that judge stages one by one (multi-head linear, VOC07 SVM, low-shot SVM) take these features, as
mmselfsup's `MultiPooling` of type `specified` makes them. Its windows are for images of 224 pixels. Maps of other sizes
are pooled adaptively to as many values a side, or to their own size where that is smaller.
"""

import math
from typing import NamedTuple

from mindspore import nn, ops

from mindbyol.stages import MAP_NAMES


class Window(NamedTuple):
    """How the map of one stage is pooled.

    Attributes:
        map_side (int): Side of the map that kernel, stride and padding are for: that of images of 224 pixels.
        kernel, stride, padding (int): Of the average; the zeros of the padding count.
        side (int): Values a side that come out; the most that come out of maps of other sizes.
    """

    map_side: int
    kernel: int
    stride: int
    padding: int
    side: int


WINDOWS = {
    "feature1": Window(112, 10, 10, 4, 12),
    "feature2": Window(56, 16, 8, 0, 6),
    "feature3": Window(28, 13, 5, 0, 4),
    "feature4": Window(14, 8, 3, 0, 3),
    "feature5": Window(7, 6, 1, 0, 2),
}
MAP_OF = dict(zip(WINDOWS, MAP_NAMES))  # feature1 is of the stem, feature2 of stage1, ...


def layers_of(backbone, layers=None):
    """The layers that are asked for, in the order of the network.

    Args:
        backbone (Cell): See `backbones.create_backbone`.
        layers (sequence[str]): Some of `WINDOWS`; None for all that the backbone has.

    Returns:
        tuple[str]: Each once.

    Raises:
        ValueError: The backbone has no such layer, or its stages cannot be told.
    """
    has = [layer for layer in WINDOWS if MAP_OF[layer] in backbone.map_names]
    missing = [layer for layer in layers or () if layer not in has]
    if missing:
        raise ValueError(
            f"layers: this backbone has no {', '.join(missing)}, only {', '.join(has)}: its stages end with "
            f"{backbone.map_names[-1]}; ask for those, or score a backbone with more stages"
        )
    return tuple(layer for layer in has if layers is None or layer in layers)


class StagePooling(nn.Cell):
    """The maps of a backbone to the features of its layers, not flattened: what is normalised over channels comes next.

    Args:
        backbone (Cell): Whose maps it gets; see `backbones.create_backbone`.
        layers (sequence[str]): See `layers_of`.

    Attributes:
        layers (tuple[str]): Name of each feature, in the order in which they come out.
        shapes (tuple[tuple[int]]): (C, h, w) of each, of images of the size that the backbone was created for.

    Raises:
        ValueError: As of `layers_of`.
    """

    def __init__(self, backbone, layers=None):
        super().__init__()
        self.layers = layers_of(backbone, layers)
        self._places = tuple(backbone.map_names.index(MAP_OF[layer]) for layer in self.layers)
        self._windows = tuple(WINDOWS[layer] for layer in self.layers)
        self._fixed = nn.CellList([_average(window) for window in self._windows])
        self._adaptive = nn.CellList([nn.AdaptiveAvgPool2d(window.side) for window in self._windows])
        sides = [min(backbone.map_sides[place], window.side) for place, window in zip(self._places, self._windows)]
        self.shapes = tuple((backbone.map_channels[place], side, side) for place, side in zip(self._places, sides))

    def construct(self, maps):
        """Pools.

        Args:
            maps (tuple[Tensor]): All that `backbone.maps` gives: (N, C, H, H) each.

        Returns:
            tuple[Tensor]: (N, C, h, h) for each of `layers`. At 224 pixels a ResNet-50's are 64x12x12, 256x6x6,
            512x4x4, 1024x3x3 and 2048x2x2: flattened 9216, 9216, 8192, 9216 and 8192 numbers.
        """
        pooled = ()
        for place, window, fixed, adaptive in zip(self._places, self._windows, self._fixed, self._adaptive):
            x = maps[place]
            if x.shape[2] == window.map_side:
                x = fixed(x)
            elif x.shape[2] > window.side:
                x = adaptive(x)
            pooled += (x,)
        return pooled


class StageReadOut:
    """The features of some layers, flattened, one behind the other: all from one pass. See `Tools.features`.

    Args:
        layers (sequence[str]): As of `layers_of`.

    Attributes:
        name (str): Of the read-out.
    """

    def __init__(self, layers):
        self.layers = tuple(layers)
        self.name = "+".join(self.layers)

    def cell(self, backbone):
        """A Cell from normalised images (N, 3, H, W) to (N, F)."""
        return _FlatStages(backbone, self.layers)

    def columns(self, backbone, layer):
        """The slice of the F numbers that is a layer's."""
        sizes = [math.prod(shape) for shape in StagePooling(backbone, self.layers).shapes]
        first = sum(sizes[: self.layers.index(layer)])
        return slice(first, first + sizes[self.layers.index(layer)])


class _FlatStages(nn.Cell):
    def __init__(self, backbone, layers):
        super().__init__(auto_prefix=False)  # the backbone's parameters keep their names
        self.backbone = backbone
        self.pooling = StagePooling(backbone, layers)

    def construct(self, images):
        flat = ()
        for pooled in self.pooling(self.backbone.maps(images)):
            flat += (pooled.reshape(pooled.shape[0], -1),)
        return ops.cat(flat, 1)


def _average(window):
    """The zeros are put there in a step of their own, so that they count on every device."""
    average = nn.AvgPool2d(window.kernel, window.stride)
    if window.padding == 0:
        return average
    around = (window.padding, window.padding)
    return nn.SequentialCell(nn.Pad(((0, 0), (0, 0), around, around)), average)
