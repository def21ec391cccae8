"""From the boxes and scores of a detector to what it has found in an image: suppression, and masks at full size."""

from typing import NamedTuple, Optional

import numpy as np

from mindbyol.data.coco_tools import coco_tools

LEAST_SCORE, OVERLAP, MOST = 0.05, 0.5, 100  # as MMDetection tests


class Detections(NamedTuple):
    """What was found in an image, the highest score first.

    Attributes:
        boxes (numpy.ndarray): float32 (K, 4): x1, y1, x2, y2 in pixels of the image as it is stored.
        scores (numpy.ndarray): float32 (K,).
        classes (numpy.ndarray): int32 (K,), from 0.
        masks (list[bytes] or None): COCO's compressed run lengths of each.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: Optional[list] = None


def detect(boxes, scores, size, shape):
    """What is left of the boxes of an image, after suppression in each class.

    Args:
        boxes (numpy.ndarray): (P, C, 4) in pixels of the resized image, of each proposal for each class.
        scores (numpy.ndarray): (P, C), probabilities.
        size (sequence[float]): Height and width of the resized image.
        shape (tuple[int, int]): Height and width of the image as it is stored.

    Returns:
        tuple[Detections, numpy.ndarray]: At most 100, all with scores above 0.05, none overlapping a better one of its
        class by more than 0.5; and int64 (K,), the proposal of each.
    """
    proposals, classes = np.nonzero(scores > LEAST_SCORE)
    scores = scores[proposals, classes]
    boxes = boxes[proposals, classes] * (np.float32([shape[1], shape[0]] * 2) / np.float32([size[1], size[0]] * 2))
    kept = []
    for label in np.unique(classes):
        places = np.flatnonzero(classes == label)
        kept.append(places[suppress(boxes[places], scores[places], OVERLAP)])
    kept = np.concatenate([np.zeros(0, np.int64), *kept])
    kept = kept[np.argsort(-scores[kept], kind="stable")][:MOST]
    found = Detections(np.float32(boxes[kept]), np.float32(scores[kept]), np.int32(classes[kept]))
    return found, proposals[kept]


def suppress(boxes, scores, overlap):
    """Greedy suppression: a box is dropped if a better one that is kept overlaps it by more.

    Args:
        boxes (numpy.ndarray): (N, 4).
        scores (numpy.ndarray): (N,); of equal ones the first comes first.
        overlap (float): IoU of continuous boxes, up to which both are kept.

    Returns:
        numpy.ndarray: int64, the places of those that are kept, the highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[iou(boxes[best : best + 1], boxes[order])[0] <= overlap]
    return np.array(kept, np.int64)


def iou(boxes, others, extra=0.0):
    """Intersection over union.

    Args:
        boxes (numpy.ndarray): (N, 4).
        others (numpy.ndarray): (M, 4).
        extra (float): Added to widths and heights: 1 where a box ends with its last pixel, as VOC's scores have it.

    Returns:
        numpy.ndarray: float64 (N, M), 0 where both have no area.
    """
    boxes, others = np.asarray(boxes, np.float64), np.asarray(others, np.float64)
    first = np.maximum(boxes[:, None, :2], others[None, :, :2])
    last = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.maximum(last - first + extra, 0).prod(2)
    areas = [(some[:, 2:] - some[:, :2] + extra).prod(1) for some in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - common
    return common / np.where(union > 0, union, np.inf)


def paste_mask(mask, box, height, width):
    """Draws a mask of constant size into an image: interpolated over its box, and cut at one half.

    Args:
        mask (numpy.ndarray): float (S, S), probabilities.
        box (numpy.ndarray): (4,), x1, y1, x2, y2 in pixels of the image.
        height, width (int): Of the image.

    Returns:
        numpy.ndarray: uint8 (height, width), 0 or 1; a pixel belongs to it by what its middle has.
    """
    pasted = np.zeros((height, width), np.uint8)
    x1, y1, x2, y2 = (float(side) for side in box)
    if not (x2 > x1 and y2 > y1):
        return pasted
    rows, first_row = _weights(y1, y2, mask.shape[0], height)
    columns, first_column = _weights(x1, x2, mask.shape[1], width)
    values = rows @ mask.astype(np.float64) @ columns.T
    pasted[first_row : first_row + len(rows), first_column : first_column + len(columns)] = values >= 0.5
    return pasted


def _weights(start, end, count, size):
    """Bilinear weights of `count` cells between start and end for the pixels there; beyond the cells there is 0."""
    first, last = max(int(np.floor(start)) - 1, 0), min(int(np.ceil(end)) + 1, size)
    places = (np.arange(first, max(last, first)) + 0.5 - start) / (end - start) * count - 0.5
    return np.maximum(1 - abs(places[:, None] - np.arange(count)), 0), first


def run_lengths(masks):
    """COCO's compressed run lengths of some masks.

    Args:
        masks (iterable[numpy.ndarray]): uint8 (H, W), 0 or 1.

    Returns:
        list[bytes]: One each.

    Raises:
        ValueError: pycocotools is not installed.
    """
    encode = coco_tools("mask").encode
    return [encode(np.asfortranarray(mask))["counts"] for mask in masks]
