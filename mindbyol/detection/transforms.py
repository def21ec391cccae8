"""From an image with its objects to what a detector takes: resized, mirrored, on a canvas of constant size.

A canvas is as large as the largest image, lying or upright by the image; the image is at its upper left, and the rest
is 0. Padding is to be zero where the network sees it, so it masks what is beyond `size` once it has normalised.
"""

import numpy as np

from mindbyol.data.keyed_random import uniform
from mindbyol.data.resizing import resize_image, scaled_size
from mindbyol.detection.images import is_lying

_CHOICES, _KEYS = 0, 1  # views: the numbers of this transform, and those that the network draws samples with
_MASK_LEVELS = 255


class TrainTransform:
    """Makes what a detector is trained on; see `data.views` for what a transform is.

    Difficult objects and crowds are no objects here: they are background, as with MMDetection.

    Args:
        canvas (tuple[int, int]): Height and width of the lying canvas; the upright one is the other way round.
        long_side (int): Most pixels of the longer side of the image.
        short_sides (sequence[int]): Most pixels of the shorter side; one is drawn for each image.
        hflip (float): Probability of mirroring left to right.
        most (int): Objects an image, M; the first ones are taken.
        keys (int): Random numbers that the network takes of an image.
        mask_side (int): Side of the masks, see `box_mask`; None for no masks.
    """

    takes_target = True

    def __init__(self, canvas, long_side, short_sides, hflip, most, keys, mask_side=None):
        self.canvas = tuple(canvas)
        self.long_side = long_side
        self.short_sides = tuple(short_sides)
        self.hflip = hflip
        self.most = most
        self.keys = keys
        self.mask_side = mask_side

    def outputs(self):
        """Returns shape and dtype of each array.

        "image": (3, pixels of the canvas), row by row; "canvas": its height and width, which the size does not always
        tell; "size": height and width of the image in it; "boxes", "classes" and "valid", which says which of the M
        rows are objects; "masks", if they are asked for; "keys": in [0, 1).
        """
        masks = {} if self.mask_side is None else {"masks": ((self.most, self.mask_side, self.mask_side), np.uint8)}
        return {
            "image": ((3, self.canvas[0] * self.canvas[1]), np.uint8),
            "canvas": ((2,), np.int32),
            "size": ((2,), np.float32),
            "boxes": ((self.most, 4), np.float32),
            "classes": ((self.most,), np.int32),
            "valid": ((self.most,), np.bool_),
            **masks,
            "keys": ((self.keys,), np.float32),
        }

    def __call__(self, image, objects, seed, epoch, index, out):
        """Writes what becomes of an image (uint8 (H, W, 3)) and its objects (Objects) to the arrays of `out`."""
        which, mirror = uniform(2, seed, epoch, index, _CHOICES)
        bounds = self.long_side, self.short_sides[int(which * len(self.short_sides))]
        mirrored = mirror < self.hflip
        height, width = scaled_size(*image.shape[:2], bounds)
        out["canvas"][:] = place_on_canvas(out["image"], image, height, width, self.canvas, mirrored)
        out["size"][:] = height, width

        learned = np.flatnonzero(~objects.neutral)[: self.most]
        count = len(learned)
        boxes = scale_boxes(objects.boxes[learned], image.shape[:2], (height, width))
        out["boxes"][...] = 0
        out["boxes"][:count] = mirror_boxes(boxes, width) if mirrored else boxes
        out["classes"][...] = 0
        out["classes"][:count] = objects.classes[learned]
        out["valid"][:] = np.arange(self.most) < count
        if self.mask_side is not None:
            out["masks"][...] = 0
            for row, place in enumerate(learned):
                mask = box_mask(objects.masks[place], objects.boxes[place], self.mask_side)
                out["masks"][row] = mask[:, ::-1] if mirrored else mask
        # 24 bits, so that no number is rounded to 1
        out["keys"][:] = np.floor(uniform(self.keys, seed, epoch, index, _KEYS) * 2**24) * 2**-24


class TestTransform:
    """Makes what a detector is tested on; for `data.one_by_one`.

    Args:
        canvas (tuple[int, int]), long_side (int): As for `TrainTransform`.
        short_side (int): Most pixels of the shorter side.
    """

    takes_target = True
    __test__ = False  # for pytest

    def __init__(self, canvas, long_side, short_side):
        self.canvas = tuple(canvas)
        self.bounds = long_side, short_side

    def __call__(self, image, objects):
        """Makes it of an image (uint8 (H, W, 3)).

        Returns:
            tuple: The image as it was; uint8 (3, h, w), its canvas, lying or upright; its height and width there,
            float32 (2,); and its objects, as they were.
        """
        height, width = scaled_size(*image.shape[:2], self.bounds)
        flat = np.empty((3, self.canvas[0] * self.canvas[1]), np.uint8)
        shape = place_on_canvas(flat, image, height, width, self.canvas)
        return image, flat.reshape(3, *shape), np.array([height, width], np.float32), objects


def place_on_canvas(flat, image, height, width, canvas, mirrored=False):
    """Resizes an image and writes it to the upper left of its canvas; the rest becomes 0.

    Args:
        flat (numpy.ndarray): uint8 (3, canvas pixels), to write to.
        image (numpy.ndarray): uint8 (H, W, 3).
        height, width (int): Of the resized image.
        canvas (tuple[int, int]): Height and width of the lying one.
        mirrored (bool): Left to right.

    Returns:
        tuple[int, int]: Height and width of the canvas that was used.
    """
    shape = canvas if is_lying(*image.shape[:2]) else canvas[::-1]
    resized = resize_image(image, height, width)
    on_canvas = flat.reshape(3, *shape)
    on_canvas[:, height:] = 0
    on_canvas[:, :height, width:] = 0
    on_canvas[:, :height, :width] = resized[:, :: -1 if mirrored else 1].transpose(2, 0, 1)
    return shape


def scale_boxes(boxes, before, after):
    """Boxes of a resized image, clipped to it; the factors of the two directions differ by their rounding.

    Args:
        boxes (numpy.ndarray): float32 (G, 4).
        before, after (tuple[int, int]): Height and width of the image.

    Returns:
        numpy.ndarray: float32 (G, 4).
    """
    down, across = after[0] / before[0], after[1] / before[1]
    height, width = after
    return (boxes * np.float32([across, down] * 2)).clip(0, np.float32([width, height] * 2))


def mirror_boxes(boxes, width):
    """Boxes (G, 4) of an image of some width that is mirrored left to right."""
    x1, y1, x2, y2 = boxes.T
    return np.stack([width - x2, y1, width - x1, y2], 1)


def box_mask(mask, box, side):
    """A mask within a box, of constant size: how much of each of side x side equal cells of the box it covers.

    The area is exact, whatever the sizes, so a target for any other box can be made of it by interpolation.

    Args:
        mask (numpy.ndarray): uint8 (H, W), 0 or 1.
        box (numpy.ndarray): (4,), x1, y1, x2, y2.
        side (int): Cells along each side.

    Returns:
        numpy.ndarray: uint8 (side, side), 255 for a cell that is covered whole.
    """
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    rows, first_row = _shares(y1, y2, side, mask.shape[0])
    columns, first_column = _shares(x1, x2, side, mask.shape[1])
    part = mask[first_row : first_row + rows.shape[1], first_column : first_column + columns.shape[1]]
    covered = rows @ part.astype(np.float64) @ columns.T
    return np.floor(covered * _MASK_LEVELS + 0.5).astype(np.uint8)


def _shares(start, end, count, size):
    """The share of each pixel in each of `count` equal parts of start..end, and which pixel is the first."""
    first, last = int(start), min(int(np.ceil(end)), size)
    edges = np.linspace(start, end, count + 1)
    pixels = np.arange(first, last)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlap, 0) * (count / (end - start)), first
