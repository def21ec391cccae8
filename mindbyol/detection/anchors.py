"""Anchors: the boxes that a region proposal network moves and resizes."""

import numpy as np

from mindspore import ops


def base_anchors(stride, scales, ratios):
    """The anchors of one position of a map, around the origin.

    Args:
        stride (int): Pixels from one position to the next.
        scales (tuple[float]): Sides of a square anchor in strides.
        ratios (tuple[float]): Height over width; the area is that of the square.

    Returns:
        ndarray: (len(ratios) * len(scales), 4) float32, all scales of the first ratio first, as in MMDetection.
    """
    side = stride * np.array(scales, np.float64)
    root = np.sqrt(np.array(ratios, np.float64))[:, None]
    half_width, half_height = (side / root).ravel() / 2, (side * root).ravel() / 2
    return np.stack([-half_width, -half_height, half_width, half_height], 1).astype(np.float32)


def grid_anchors(height, width, stride, scales, ratios):
    """The anchors of a map, centred on the top left corner of each cell: (stride * column, stride * row).

    Args:
        height, width (int): Of the map, in cells.
        stride, scales, ratios: See `base_anchors`.

    Returns:
        ndarray: (height, width, len(ratios) * len(scales), 4) float32.
    """
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    corners = stride * np.stack([columns, rows, columns, rows], -1).astype(np.float32)
    return corners[:, :, None] + base_anchors(stride, scales, ratios)


def inside(anchors, sizes):
    """Which anchors are wholly within an image; those that touch its right or lower edge are not, as in MMDetection.

    Args:
        anchors (Tensor): (A, 4).
        sizes (Tensor): (B, 2), true height and width of each image.

    Returns:
        Tensor: bool (B, A).
    """
    x1, y1, x2, y2 = ops.unbind(ops.expand_dims(anchors, 0), 2)  # (1, A)
    height, width = ops.split(sizes, 1, 1)  # (B, 1)
    in_width = ops.logical_and(x1 >= 0, x2 < width)
    return ops.logical_and(in_width, ops.logical_and(y1 >= 0, y2 < height))
