"""A feature pyramid (Lin et al. 2017): maps of one width at strides 4 to 64, and boxes on the map of their size."""

import mindspore as ms
from mindspore import nn, ops

STRIDES = (4, 8, 16, 32, 64)  # of P2 to P6
REGION_STRIDES = STRIDES[:4]  # of the maps that regions are looked at on
_FINEST = 56.0  # px: boxes of up to twice this side belong to P2
_SAMPLES = 2  # of RoIAlign, along each side of a bin


def conv_norm(channels, width, kernel, weight_init):
    """A convolution and a batch norm, without a ReLU.

    Args:
        channels, width (int): In and out.
        kernel (int): Its side.
        weight_init (str or Initializer): Of the convolution.
    """
    padding = {"pad_mode": "pad", "padding": kernel // 2}
    convolution = nn.Conv2d(channels, width, kernel, has_bias=False, weight_init=weight_init, **padding)
    return nn.SequentialCell(convolution, nn.BatchNorm2d(width))


class FPN(nn.Cell):
    """Carries what the coarse maps know to the fine ones.

    Args:
        channels (sequence[int]): Of C2 to C5.
        width (int): Of all that comes out.

    Inputs:
        C2 to C5 (Tensor): (B, C, H, W) each, every one half as high and as wide as the one before.

    Outputs:
        Tuple of P2 to P6, (B, width, H, W) each; P6 is every second cell of P5.
    """

    def __init__(self, channels, width=256):
        super().__init__()
        self.laterals = nn.CellList([conv_norm(count, width, 1, "XavierUniform") for count in channels])
        self.outputs = nn.CellList([conv_norm(width, width, 3, "XavierUniform") for _ in channels])

    def construct(self, c2, c3, c4, c5):
        laterals = ()
        for lateral, map_ in zip(self.laterals, (c2, c3, c4, c5)):
            laterals += (lateral(map_),)
        above = laterals[3]
        merged = (above,)
        for place in (2, 1, 0):
            above = laterals[place] + twice_as_large(above)
            merged = (above,) + merged
        maps = ()
        for output, map_ in zip(self.outputs, merged):
            maps += (output(map_),)
        return maps + (maps[3][:, :, ::2, ::2],)


def twice_as_large(map_):
    """Each cell four times: (B, C, H, W) to (B, C, 2 H, 2 W)."""
    batch, channels, height, width = map_.shape
    cells = ops.tile(map_.reshape(batch * channels, height, 1, width, 1), (1, 1, 2, 1, 2))
    return cells.reshape(batch, channels, 2 * height, 2 * width)


def level_of(boxes):
    """The map that a box is looked at on: floor(log2(sqrt(width * height) / 56 + 1e-6)), from 0 to 3.

    Args:
        boxes (Tensor): (..., 4), in pixels.

    Returns:
        Tensor: int32 (...), 0 for P2.
    """
    x1, y1, x2, y2 = ops.unbind(boxes, -1)
    area = ops.maximum(x2 - x1, 0.0) * ops.maximum(y2 - y1, 0.0)
    sides = ops.sqrt(area) / _FINEST + 1e-6
    level = ops.zeros_like(sides).astype(ms.int32)
    for limit in (2.0, 4.0, 8.0):  # a logarithm may fall on the other side of a whole number
        level = level + (sides >= limit).astype(ms.int32)
    return level


class PyramidAlign(nn.Cell):
    """RoIAlign of each box on its own map, "aligned", with 2 x 2 samples a bin; no gradient flows to the boxes.

    MindSpore's operator is run on every map for all boxes, and a mask keeps those of the map. It is asked for its
    default mode, whose gradient belongs to its values, with boxes moved by half a cell: it adds a pixel to their ends.

    Args:
        out (int): Bins along each side.

    Inputs:
        maps (tuple[Tensor]): P2 to P5, (B, C, H, W) each.
        boxes (Tensor): (B, R, 4) float32, in pixels.

    Outputs:
        Tensor, (B * R, C, out, out), float32.
    """

    def __init__(self, out):
        super().__init__()
        self.operators = [ops.ROIAlign(out, out, 1.0 / stride, _SAMPLES, 1) for stride in REGION_STRIDES]

    def construct(self, maps, boxes):
        boxes = ops.stop_gradient(boxes)
        batch, count = boxes.shape[:2]
        images = ops.arange(batch).astype(ms.float32).reshape(batch, 1, 1)
        images = ops.tile(images, (1, count, 1))
        level = level_of(boxes).reshape(-1)
        x1y1, x2y2 = ops.split(boxes, 2, 2)
        total = 0.0
        for place in range(len(REGION_STRIDES)):
            half = REGION_STRIDES[place] / 2
            regions = ops.cat((images, x1y1 - half, x2y2 - half - 1.0), 2).reshape(-1, 5)
            bins = self.operators[place](maps[place].astype(ms.float32), regions)
            total = total + bins * (level == place).astype(ms.float32).reshape(-1, 1, 1, 1)
        return total
