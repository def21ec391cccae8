"""Arithmetic of boxes: overlap, how a network's numbers describe a box, clipping.

A box is x1, y1, x2, y2 in pixels, continuous: its width is x2 - x1. All is float32. What `ops` has for boxes counts a
width as x2 - x1 + 1, as older detectors did, and is not used.
"""

import math

from mindspore import ops

MAX_LOG_RATIO = math.log(1000 / 16)  # no box becomes larger or smaller than its anchor by more than this
_SMALLEST = 1e-6  # px, px^2


def _centre_and_sides(boxes):
    x1, y1, x2, y2 = ops.unbind(boxes, -1)
    return (x1 + x2) * 0.5, (y1 + y2) * 0.5, x2 - x1, y2 - y1


def iou(boxes, others):
    """Intersection over union of each box with each other box; 0 where both are empty.

    Args:
        boxes (Tensor): (..., N, 4).
        others (Tensor): (..., M, 4).

    Returns:
        Tensor: (..., N, M), from 0 to 1.
    """
    x1, y1, x2, y2 = ops.unbind(ops.expand_dims(boxes, -2), -1)  # (..., N, 1)
    left, top, right, bottom = ops.unbind(ops.expand_dims(others, -3), -1)  # (..., 1, M)
    width = ops.maximum(ops.minimum(x2, right) - ops.maximum(x1, left), 0.0)
    height = ops.maximum(ops.minimum(y2, bottom) - ops.maximum(y1, top), 0.0)
    common = width * height
    union = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - common
    return common / ops.maximum(union, _SMALLEST)


def encode(anchors, boxes, stds=(1.0, 1.0, 1.0, 1.0)):
    """What a network is to say of an anchor whose object is in a box (Girshick et al. 2014, appendix C).

    Args:
        anchors, boxes (Tensor): (..., 4) each, of one shape or of such that broadcast. A side of 0 counts as a
            millionth of a pixel, so that padding gives finite numbers.
        stds (tuple[float]): What dx, dy, dw and dh are divided by.

    Returns:
        Tensor: (..., 4): shift of the centre in sides of the anchor, and log of the ratio of sides.
    """
    x, y, width, height = _centre_and_sides(anchors)
    box_x, box_y, box_width, box_height = _centre_and_sides(boxes)
    width, height = ops.maximum(width, _SMALLEST), ops.maximum(height, _SMALLEST)
    dx, dy = (box_x - x) / width, (box_y - y) / height
    dw = ops.log(ops.maximum(box_width, _SMALLEST) / width)
    dh = ops.log(ops.maximum(box_height, _SMALLEST) / height)
    return ops.stack((dx / stds[0], dy / stds[1], dw / stds[2], dh / stds[3]), -1)


def decode(anchors, deltas, stds=(1.0, 1.0, 1.0, 1.0)):
    """The boxes that a network speaks of: the inverse of `encode`, with dw and dh within +-`MAX_LOG_RATIO`.

    Args:
        anchors, deltas (Tensor): (..., 4) each, of one shape or of such that broadcast.
        stds (tuple[float]): As for `encode`.

    Returns:
        Tensor: (..., 4), boxes.
    """
    x, y, width, height = _centre_and_sides(anchors)
    dx, dy, dw, dh = ops.unbind(deltas, -1)
    x, y = x + dx * stds[0] * width, y + dy * stds[1] * height
    half_width = ops.exp(ops.clamp(dw * stds[2], -MAX_LOG_RATIO, MAX_LOG_RATIO)) * width * 0.5
    half_height = ops.exp(ops.clamp(dh * stds[3], -MAX_LOG_RATIO, MAX_LOG_RATIO)) * height * 0.5
    return ops.stack((x - half_width, y - half_height, x + half_width, y + half_height), -1)


def clip(boxes, sizes):
    """Boxes within their images.

    Args:
        boxes (Tensor): (B, ..., 4).
        sizes (Tensor): (B, 2), true height and width of each image without padding.

    Returns:
        Tensor: As `boxes`.
    """
    height, width = ops.unbind(sizes, 1)
    ends = ops.stack((width, height, width, height), 1)
    ends = ends.reshape((boxes.shape[0],) + (1,) * (boxes.ndim - 2) + (4,))
    return ops.minimum(ops.maximum(boxes, 0.0), ends)


def has_area(boxes):
    """Whether width and height of a box are above 0: (..., 4) to bool (...)."""
    _, _, width, height = _centre_and_sides(boxes)
    return ops.logical_and(width > 0, height > 0)
