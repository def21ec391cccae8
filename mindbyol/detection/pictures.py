"""Pictures of what a detector has found: the image with its ground truth, and with the detections, side by side."""

import cv2
import numpy as np

from mindbyol.data.coco_tools import coco_tools
from mindbyol.data.voc_colours import palette
from mindbyol.reports.dense_pictures import save, side_by_side  # noqa: F401  (save is known from here)

_LEAST_SCORE = 0.3  # of what is drawn
_OPACITY = 0.5  # of masks over the image
_NEUTRAL = (160, 160, 160)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4


def draw(image, objects, detections, class_names):
    """Draws both beside each other.

    Args:
        image (ndarray): uint8 (H, W, 3).
        objects (Objects): The ground truth; neutral objects are gray.
        detections (Detections): What was found; scores below 0.3 are not drawn.
        class_names (list[str]): Each class has a colour, and its name stands at the boxes.

    Returns:
        ndarray: uint8 (H, 2 W + gap, 3): ground truth on the left.
    """
    colours = palette()[1:].tolist()
    truth = [
        (colours[label % 255] if not neutral else _NEUTRAL, class_names[label])
        for label, neutral in zip(objects.classes, objects.neutral)
    ]
    shown = detections.scores >= _LEAST_SCORE
    boxes, scores, classes = (part[shown] for part in detections[:3])
    found = [
        (colours[label % 255], f"{class_names[label]} {round(100 * float(score))}")
        for label, score in zip(classes, scores)
    ]
    masks = None
    if detections.masks is not None:
        decode, size = coco_tools("mask").decode, list(image.shape[:2])
        masks = [decode({"size": size, "counts": one}) for one, use in zip(detections.masks, shown) if use]
    return side_by_side(_drawn(image, objects.boxes, objects.masks, truth), _drawn(image, boxes, masks, found))


def _drawn(image, boxes, masks, labels):
    picture = image.copy()
    for mask, (colour, _) in zip([] if masks is None else masks, labels):
        inside = mask.astype(bool)
        picture[inside] = picture[inside] * (1 - _OPACITY) + np.array(colour) * _OPACITY
    for box, (colour, text) in zip(boxes.tolist(), labels):
        x1, y1, x2, y2 = (int(round(side)) for side in box)
        cv2.rectangle(picture, (x1, y1), (max(x2 - 1, x1), max(y2 - 1, y1)), colour, 1)
        (_, height), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
        cv2.putText(
            picture, text, (x1 + 2, min(y1 + height + 3, len(image) - 2)), _FONT, _FONT_SCALE, (255, 255, 255), 2
        )
        cv2.putText(picture, text, (x1 + 2, min(y1 + height + 3, len(image) - 2)), _FONT, _FONT_SCALE, colour, 1)
    return picture
