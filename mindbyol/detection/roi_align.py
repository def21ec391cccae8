"""RoIAlign as two matrix products: exact, with an exact gradient, of operators that every device has.

`ops.ROIAlign` has no adaptive number of samples, and the gradient of one of its two modes is that of the other.
Bilinear interpolation averaged over a grid of samples is separable, so the value of a bin is one row of weights over
the rows of the map times the map times one over its columns (He et al. 2017, section 3).
"""

import math

import mindspore as ms
from mindspore import ops


def roi_align(maps, boxes, scale, out):
    """Maps of boxes, "aligned" (half a pixel shifted, without a smallest size), as in MMDetection and torchvision.

    Each bin is the mean of n x m samples, n = ceil(height of the box in cells / out), and m of the width. No gradient
    flows to the boxes.

    Args:
        maps (Tensor): (B, C, H, W).
        boxes (Tensor): (B, R, 4), float32, in pixels, within the image.
        scale (float): Cells of the map a pixel: 1 / stride.
        out (int): Bins along each side.

    Returns:
        Tensor: (B * R, C, out, out), in the type of `maps`. On the way there are B * R * out * H * C numbers in memory.
    """
    batch, channels, height, width = maps.shape
    count = boxes.shape[1]
    cells = ops.stop_gradient(boxes) * scale - 0.5
    x1, y1, x2, y2 = ops.unbind(ops.expand_dims(ops.expand_dims(cells, 2), 2), -1)  # (B, R, 1, 1)
    rows = _weights(y1, y2, height, out).astype(maps.dtype)  # (B, R, out, H)
    columns = _weights(x1, x2, width, out).astype(maps.dtype)  # (B, R, out, W)
    by_column = maps.transpose(0, 3, 2, 1).reshape(batch, width, height * channels)
    strips = ops.matmul(columns.reshape(batch, count * out, width), by_column)
    strips = strips.reshape(batch * count, out, height, channels)
    bins = ops.matmul(rows.reshape(batch * count, 1, out, height), strips)  # (B R, column, row, C)
    return bins.transpose(0, 3, 2, 1)


def _weights(first, last, size, out):
    """How much each cell of an axis counts in each bin: (B, R, 1, 1) twice to (B, R, out, size)."""
    bin_size = (last - first) / out
    samples = ops.maximum(ops.ceil(bin_size), 1.0)
    bins = ops.expand_dims(ops.arange(out).astype(ms.float32), 1)
    cells = ops.arange(size).astype(ms.float32)
    total = 0.0
    for number in range(max(1, math.ceil(size / out))):  # the most samples that a box within the image has
        at = first + (bins + (number + 0.5) / samples) * bin_size  # (B, R, out, 1)
        counts = ops.logical_and(ops.logical_and(at >= -1.0, at <= size), number < samples)
        hat = ops.maximum(1.0 - ops.abs(ops.clamp(at, 0.0, size - 1.0) - cells), 0.0)
        total = total + hat * counts.astype(ms.float32)
    return total / samples
