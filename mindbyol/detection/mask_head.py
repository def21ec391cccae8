"""The mask head (He et al. 2017): which pixels of a box belong to its object."""

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import HeNormal

from mindbyol.detection.assignment import take
from mindbyol.detection.fpn import conv_norm

SIDE = 28  # of the masks that come out
# Of the masks of objects that targets are made of. A region overlaps its object by half at least, so that it is at most
# twice as wide: one cell of its target is never smaller than one of these.
OBJECT_SIDE = 2 * SIDE


class MaskHead(nn.Cell):
    """Four convolutions, one that doubles the side, and a last one that gives each class a mask.

    Args:
        channels (int): Of the maps, and of all layers but the last.
        num_classes (int): Without background.

    Inputs:
        Tensor (N, channels, 14, 14), the bins of N regions.

    Outputs:
        Tensor (N, num_classes, 28, 28), logits.
    """

    def __init__(self, channels, num_classes):
        super().__init__()
        layers = []
        for _ in range(4):
            layers += [conv_norm(channels, channels, 3, fan_out()), nn.ReLU()]
        self.convs = nn.SequentialCell(layers)
        self.upsample = nn.Conv2dTranspose(
            channels, channels, 2, stride=2, pad_mode="valid", has_bias=True, weight_init=fan_out(), bias_init="zeros"
        )
        self.relu = nn.ReLU()
        self.classify = nn.Conv2d(channels, num_classes, 1, has_bias=True, weight_init=fan_out(), bias_init="zeros")

    def construct(self, bins):
        return self.classify(self.relu(self.upsample(self.convs(bins))))


def fan_out():
    """Kaiming's normal initialisation by the outputs of a layer that a ReLU follows."""
    return HeNormal(mode="fan_out", nonlinearity="relu")


def masks_of_classes(logits, classes):
    """The mask of one class for each region.

    Args:
        logits (Tensor): (N, K, side, side).
        classes (Tensor): int32 (N,).

    Returns:
        Tensor: (N, side, side).
    """
    return take(logits, ops.expand_dims(classes, 1))[:, 0]


def mask_targets(masks, objects, regions):
    """Which cells of a region its object covers by half or more.

    Args:
        masks (Tensor): (N, S, S) float32: the share of each of S x S equal cells of an object's box that it covers.
        objects (Tensor): (N, 4), the boxes of these objects.
        regions (Tensor): (N, 4) boxes.

    Returns:
        Tensor: (N, 28, 28) float32, 0 or 1. Beyond its box there is nothing of an object.
    """
    x1, y1, x2, y2 = ops.split(objects, 1, 1)
    left, top, right, bottom = ops.split(regions, 1, 1)
    count = masks.shape[1]
    rows = _shares((top - y1) / _side(y2 - y1), (bottom - y1) / _side(y2 - y1), count)
    columns = _shares((left - x1) / _side(x2 - x1), (right - x1) / _side(x2 - x1), count)
    covered = ops.matmul(ops.matmul(rows, masks), columns.transpose(0, 2, 1))
    # rounding of the sums does not decide about a cell that is covered by half
    return (covered >= 0.5 - 1e-4).astype(ms.float32)


def _side(side):
    return ops.maximum(side, 1e-6)


def _shares(start, end, count):
    """The share that each of `count` cells, between 0 and 1, has of each of 28 parts of start..end.

    Args:
        start, end (Tensor): (N, 1).

    Returns:
        Tensor: (N, 28, count), of parts that lie within 0 and 1 the sums are 1.
    """
    part = _side(end - start) * (count / SIDE)  # in cells
    first = ops.expand_dims(start * count + ops.arange(SIDE).astype(ms.float32) * part, 2)  # (N, 28, 1)
    part = ops.expand_dims(part, 2)
    cells = ops.arange(count).astype(ms.float32)
    common = ops.minimum(first + part, cells + 1.0) - ops.maximum(first, cells)
    return ops.maximum(common, 0.0) / part


def mask_loss(logits, targets, is_positive):
    """Binary cross-entropy of each pixel, the mean over the pixels of positive regions.

    Args:
        logits (Tensor): (N, 28, 28) float32, of the class of the object.
        targets (Tensor): (N, 28, 28), 0 or 1.
        is_positive (Tensor): bool (N,).

    Returns:
        Tensor: Scalar; 0 without a positive region.
    """
    losses = ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
    counts = is_positive.astype(ms.float32)
    return (losses.mean((1, 2)) * counts).sum() / ops.maximum(counts.sum(), 1.0)
