"""Pictures of what a network has segmented: the image, its ground truth and the prediction, side by side."""

import numpy as np

from mindbyol.data.masks import IGNORED
from mindbyol.data.voc_colours import palette
from mindbyol.reports.dense_pictures import save, side_by_side  # noqa: F401  (save is known from here)

_OPACITY = 0.65  # of colours over the image


def draw(image, mask, prediction, box):
    """Draws the parts beside each other.

    Args:
        image (ndarray): uint8 (H, W, 3).
        mask (ndarray): uint8 (H, W), the ground truth.
        prediction (ndarray): Classes of the pixels in `box`.
        box (tuple[slice, slice]): Where in the image they are; the rest is drawn as what does not count.

    Returns:
        ndarray: uint8 (H, 3 W + 2 gaps, 3).
    """
    whole = np.full(mask.shape, IGNORED, np.uint8)
    whole[box] = prediction
    return side_by_side(image, _coloured(image, mask), _coloured(image, whole))


def _coloured(image, mask):
    return (image * (1 - _OPACITY) + palette()[mask] * _OPACITY).astype(np.uint8)
