"""Pictures of what a network has segmented: the image, its ground truth and the prediction, side by side."""

from pathlib import Path

import numpy as np
from PIL import Image

from mindbyol.data.masks import IGNORED
from mindbyol.files import replacing

_GAP = 4  # pixels between the parts
_OPACITY = 0.65  # of colours over the image


def palette():
    """VOC's colours: bits 0, 3, 6 of a number are the highest bits of red, 1, 4, 7 of green, 2, 5 of blue.

    Returns:
        ndarray: uint8 (256, 3); 0 is black, 255 nearly white.
    """
    numbers = np.arange(256)
    bits = (numbers[:, None] >> np.arange(8)) & 1
    colours = np.zeros((256, 3), int)
    for bit in range(8):
        colours[:, bit % 3] |= bits[:, bit] << (7 - bit // 3)
    return colours.astype(np.uint8)


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
    gap = np.full((len(image), _GAP, 3), 255, np.uint8)
    return np.hstack([image, gap, _coloured(image, mask), gap, _coloured(image, whole)])


def _coloured(image, mask):
    return (image * (1 - _OPACITY) + palette()[mask] * _OPACITY).astype(np.uint8)


def save(folder, name, picture):
    """Writes a picture as PNG, named after its image.

    Args:
        folder (Path): Made if it is not there.
        name (str): Of the image.
        picture (ndarray): uint8 (H, W, 3).

    Raises:
        OSError: It cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{Path(name).stem}.png") as beside:
        Image.fromarray(picture).save(beside)
