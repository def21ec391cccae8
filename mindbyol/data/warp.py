"""The whole image as a square: what mmselfsup's VOC07 benchmark shows a network."""

import cv2
import numpy as np

from mindbyol.data.augmentation import INTERPOLATIONS

_LONGEST = 32  # short sides; a longer image would take gigabytes on the way


class WarpTransform:
    """Resizes the shorter side, then warps to a square: nothing is cut off, and the sides lose their proportion.

    Args:
        size (int): Side of the result in pixels (`image_resize`).
        short_side (int): The shorter side in between, in pixels; the longer one is rounded down.
        interpolation (str): "bicubic" or "bilinear", of both steps, without antialiasing.
    """

    takes_target = False

    def __init__(self, size=224, short_side=256, interpolation="bilinear"):
        self.size = size
        self.short_side = short_side
        self.interpolation = interpolation

    def outputs(self):
        """Returns {"image": ((3, size, size), uint8)}."""
        return {"image": ((3, self.size, self.size), np.uint8)}

    def __call__(self, image, seed=0, epoch=0, index=0, out=None):
        """Preprocesses one image; nothing is random, so seed, epoch and index do not matter.

        Args:
            image (numpy.ndarray): uint8 RGB, shape (height, width, 3).
            out (dict[str, numpy.ndarray]): Arrays as `outputs` says to write to; by default new ones.

        Returns:
            dict[str, numpy.ndarray]: `out`.
        """
        if out is None:
            out = {"image": np.empty((3, self.size, self.size), np.uint8)}
        height, width = image.shape[:2]
        short = min(height, width)
        resized = [min(self.short_side * side // short, self.short_side * _LONGEST) for side in (width, height)]
        for sides in (resized, (self.size, self.size)):
            image = cv2.resize(image, sides, interpolation=INTERPOLATIONS[self.interpolation])
        cv2.split(image, tuple(out["image"]))
        return out
