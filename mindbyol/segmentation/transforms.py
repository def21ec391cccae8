"""From an image and its mask to what an FCN is trained on: scale, crop, flip, colours, padding, as MMSegmentation."""

import cv2
import numpy as np

from mindbyol.data.keyed_random import uniform
from mindbyol.data.masks import IGNORED
from mindbyol.data.resizing import resize_image, scaled_size

_TRIES = 10  # crops that are drawn again
_DROPOUT = 1  # the view whose numbers are the dropout's; those of view 0 are the transform's

BRIGHTNESS = 32  # added at most
CONTRAST = SATURATION = (0.5, 1.5)  # factors
HUE = 18  # of 180 steps around the circle


def resize_mask(mask, height, width):
    """To the nearest: uint8 (H, W) to (height, width)."""
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)


def is_mixed(mask, most):
    """Whether a crop is worth to be trained on: it has two classes, and none has `most` of its pixels.

    Args:
        mask (ndarray): uint8 (H, W); what is ignored does not count.
        most (float): The share of the others, from which on a class has too much.
    """
    counts = np.bincount(mask.ravel(), minlength=IGNORED + 1)
    counts = np.delete(counts, IGNORED)
    return np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < most


def draw_crop(mask, size, most, draws):
    """A random square, drawn again up to ten times until it is mixed; the last one is taken as it is.

    Args:
        mask (ndarray): uint8 (H, W).
        size (int): Side of the square; where the image is smaller, its whole extent is taken.
        most (float): See `is_mixed`; 1 takes the first.
        draws (ndarray): (2 * (1 + 10),), uniform in [0, 1).

    Returns:
        tuple[slice, slice]: Rows and columns.
    """
    spare = max(mask.shape[0] - size, 0), max(mask.shape[1] - size, 0)
    for down, right in draws.reshape(-1, 2):
        top, left = int(down * (spare[0] + 1)), int(right * (spare[1] + 1))
        crop = slice(top, top + size), slice(left, left + size)
        if most >= 1 or is_mixed(mask[crop], most):
            break
    return crop


def scale_and_shift(image, factor=1.0, shift=0.0):
    """factor * image + shift, cut off at 0 and 255 and then to whole numbers; uint8 of any shape."""
    return np.clip(image.astype(np.float32) * np.float32(factor) + np.float32(shift), 0, 255).astype(np.uint8)


def change_saturation(image, factor):
    """Multiplies the saturation, as OpenCV's HSV of 8 bits has it: uint8 RGB (H, W, 3)."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = scale_and_shift(hsv[..., 1], factor)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def change_hue(image, steps):
    """Turns the hue by so many of 180 steps, as OpenCV's HSV of 8 bits has it: uint8 RGB (H, W, 3)."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + steps) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def photometric(image, draws):
    """Brightness, contrast, saturation and hue, each with probability 0.5; contrast before or after the other two.

    Args:
        image (ndarray): uint8 RGB (H, W, 3).
        draws (ndarray): (9,), uniform in [0, 1): two for each of brightness, contrast, saturation and hue, whether and
            how much; and the last, below 0.5 for contrast at the end.

    Returns:
        ndarray: uint8 RGB (H, W, 3).
    """
    (bright, shift), (contrast, by), (saturate, factor), (turn, steps) = draws[:8].reshape(4, 2)
    at_the_end = draws[8] < 0.5
    low, high = CONTRAST
    if bright < 0.5:
        image = scale_and_shift(image, shift=BRIGHTNESS * (2 * shift - 1))
    if contrast < 0.5 and not at_the_end:
        image = scale_and_shift(image, low + (high - low) * by)
    if saturate < 0.5:
        image = change_saturation(image, SATURATION[0] + (SATURATION[1] - SATURATION[0]) * factor)
    if turn < 0.5:
        image = change_hue(image, int(steps * 2 * HUE) - HUE)  # -18 to 17, as numpy.random.randint(-18, 18) has them
    if contrast < 0.5 and at_the_end:
        image = scale_and_shift(image, low + (high - low) * by)
    return image


class TrainTransform:
    """Makes a square of `size` pixels of an image and its mask; see `data.views` for what a transform is.

    Args:
        size (int): Side of the crop; smaller images are filled up below and to the right.
        bounds (tuple[int, int] or None): See `scaled_size`.
        ratios (tuple[float, float]): Smallest and largest ratio of the scale.
        most (float): See `is_mixed`.
        hflip (float): Probability of mirroring left to right.
        colours (bool): Whether `photometric` changes them.
        dropped (int): How many numbers the network's dropout takes.

    Raises:
        ValueError: The smallest ratio is above the largest.
    """

    takes_target = True

    def __init__(self, size, bounds, ratios, most, hflip, colours, dropped):
        if ratios[0] > ratios[1]:
            raise ValueError(f"scale_ratio: {ratios[0]:g} is above {ratios[1]:g}; write the smaller number first")
        self.size = size
        self.bounds = bounds
        self.ratios = ratios
        self.most = most
        self.hflip = hflip
        self.colours = colours
        self.dropped = dropped

    def outputs(self):
        """Returns shape and dtype of each array: what `network.Segmenter` takes."""
        return {
            "image": ((3, self.size, self.size), np.uint8),
            "mask": ((self.size, self.size), np.uint8),
            "size": ((2,), np.float32),
            "drawn": ((self.dropped,), np.float32),
        }

    def __call__(self, image, mask, seed, epoch, index, out):
        """Writes what becomes of an image (uint8 (H, W, 3)) and its mask (uint8 (H, W)) to the arrays of `out`."""
        draws = uniform(2 + 2 * (_TRIES + 1) + 9, seed, epoch, index, 0)
        low, high = self.ratios
        height, width = scaled_size(*mask.shape, self.bounds, low + (high - low) * draws[0])
        image, mask = resize_image(image, height, width), resize_mask(mask, height, width)
        crop = draw_crop(mask, self.size, self.most, draws[2 : 2 + 2 * (_TRIES + 1)])
        image, mask = image[crop], mask[crop]
        if draws[1] < self.hflip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if self.colours:
            image = photometric(np.ascontiguousarray(image), draws[-9:])
        height, width = mask.shape
        out["image"][...] = 0
        out["image"][:, :height, :width] = image.transpose(2, 0, 1)
        out["mask"][...] = IGNORED
        out["mask"][:height, :width] = mask
        out["size"][:] = height, width
        out["drawn"][:] = uniform(self.dropped, seed, epoch, index, _DROPOUT)
        return out


class ResizeTransform:
    """Resizes an image that is tested, and leaves its mask as it is.

    Args:
        bounds (tuple[int, int] or None): See `scaled_size`.
    """

    takes_target = True

    def __init__(self, bounds):
        self.bounds = bounds

    def __call__(self, image, mask):
        """Returns the image as it was, resized as uint8 (3, h, w), and the mask."""
        resized = resize_image(image, *scaled_size(*mask.shape, self.bounds))
        return image, np.ascontiguousarray(resized.transpose(2, 0, 1)), mask
