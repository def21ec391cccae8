"""The objects of images: classes, boxes and perhaps masks, which detection learns and is scored with."""

import logging
from typing import NamedTuple, Optional

import numpy as np

from mindbyol.data.coco_tools import coco_tools

logger = logging.getLogger(__name__)

_LEAST_SIDE = 1.0  # pixels; of a box, as far as it lies in the image


class Objects(NamedTuple):
    """The objects of an image, G of them.

    Attributes:
        boxes (numpy.ndarray): float32 (G, 4): x1, y1, x2, y2 in pixels; continuous, so that the width is x2 - x1.
        classes (numpy.ndarray): int32 (G,), from 0; there is no number for background.
        neutral (numpy.ndarray): bool (G,): marked as difficult, or a crowd: nothing to learn, and not counted in a
            score either way.
        masks (numpy.ndarray or None): uint8 (G, H, W), 0 or 1; None where there are only boxes.
    """

    boxes: np.ndarray
    classes: np.ndarray
    neutral: np.ndarray
    masks: Optional[np.ndarray]


class ObjectTable:
    """The objects of many images, in few arrays: a million boxes and masks cost some 150 MB, and pickle quickly.

    Args:
        sizes (numpy.ndarray): int32 (N, 2): height and width of each image.
        ends (numpy.ndarray): int64 (N,): the number of objects up to and with those of an image.
        objects (Objects): Those of all images; without masks.
        masks (tuple[numpy.ndarray, numpy.ndarray] or None): COCO's compressed run lengths of all objects, one after the
            other, uint8, and where each ends.
    """

    def __init__(self, sizes, ends, objects, masks=None):
        self.sizes = sizes
        self._ends = ends
        self._objects = objects
        self._masks = masks

    def __len__(self):
        """How many objects."""
        return len(self._objects.boxes)

    @property
    def counts(self):
        """Objects of each image, int64 (N,), neutral ones, too."""
        return np.diff(self._ends, prepend=0)

    @property
    def has_masks(self):
        """Whether objects have masks."""
        return self._masks is not None

    @property
    def neutral_counts(self):
        """Neutral objects of each image, int64 (N,)."""
        before = np.cumsum(np.concatenate([[0], self._objects.neutral]))
        return before[self._ends] - before[self._ends - self.counts]

    def __getitem__(self, image):
        """The objects of an image (Objects)."""
        places = slice(self._ends[image - 1] if image else 0, self._ends[image])
        boxes, classes, neutral, _ = self._objects
        return Objects(boxes[places].copy(), classes[places], neutral[places], self._masks_of(image, places))

    def _masks_of(self, image, places):
        if self._masks is None:
            return None
        letters, ends = self._masks
        size = self.sizes[image].tolist()
        found = []
        for place in range(places.start, places.stop):
            counts = letters[ends[place - 1] if place else 0 : ends[place]].tobytes()
            found.append(coco_tools("mask").decode({"size": size, "counts": counts}))
        return np.stack(found) if found else np.zeros((0, *size), np.uint8)


class TableBuilder:
    """Gathers the objects of one image after the other, and checks them.

    Args:
        with_masks (bool): Whether each object has a mask.
    """

    def __init__(self, with_masks=False):
        self._sizes, self._ends, self._boxes, self._classes, self._neutral = [], [], [], [], []
        self._masks = [] if with_masks else None
        self._left_out, self._first = 0, None

    def add(self, name, height, width, boxes, classes, neutral, masks=None):
        """Adds an image with its objects.

        Boxes are clipped to the image; those that are then narrower or lower than a pixel are left out.

        Args:
            name (str): For messages.
            height, width (int): Of the image, in pixels.
            boxes (list): (x1, y1, x2, y2) of each object.
            classes (list[int]), neutral (list[bool]): See `Objects`.
            masks (list[bytes]): COCO's compressed run lengths of each object, if objects have masks.
        """
        self._sizes.append((height, width))
        boxes, usable = clipped(boxes, height, width)
        if not usable.all():
            self._first = self._first or name
            self._left_out += int((~usable).sum())
        self._boxes.append(boxes[usable])
        self._classes += [one for one, use in zip(classes, usable) if use]
        self._neutral += [one for one, use in zip(neutral, usable) if use]
        if self._masks is not None:
            self._masks += [one for one, use in zip(masks, usable) if use]
        self._ends.append(len(self._classes))

    def finish(self, origin):
        """The table (ObjectTable); of boxes that were left out, a warning has the number and the first image.

        Args:
            origin (str): What the objects are of, for the message.
        """
        if self._left_out:
            logger.warning(
                f"{origin}: {self._left_out} boxes are narrower than a pixel or lie outside of their image, and are "
                f"left out; the first is in {self._first}"
            )
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *self._boxes])
        objects = Objects(boxes, np.array(self._classes, np.int32), np.array(self._neutral, bool), None)
        masks = None
        if self._masks is not None:
            ends = np.cumsum([len(one) for one in self._masks], dtype=np.int64)
            masks = np.frombuffer(b"".join(self._masks), np.uint8), ends
        sizes = np.array(self._sizes, np.int32).reshape(-1, 2)
        return ObjectTable(sizes, np.array(self._ends, np.int64), objects, masks)


def clipped(boxes, height, width):
    """Boxes as far as they lie in an image.

    Args:
        boxes (sequence): (G, 4): x1, y1, x2, y2.
        height, width (int): Of the image.

    Returns:
        tuple[numpy.ndarray, numpy.ndarray]: float32 (G, 4), and bool (G,): which of them can be used, being at least a
        pixel wide and high.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    boxes = boxes.clip(0, (width, height, width, height)).astype(np.float32)
    return boxes, ((boxes[:, 2:] - boxes[:, :2]) >= _LEAST_SIDE).all(1)
