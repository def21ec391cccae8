"""From an image to the class of each pixel: as a whole, through a window that slides, or of its central crop."""

import numpy as np

from mindspore import Tensor, nn, ops

from mindbyol.runtime import pynative
from mindbyol.segmentation.network import resize_logits

MODES = ("whole", "slide", "center")


def window_starts(length, window, stride):
    """Where windows begin along a side, so that they cover it; the last one is shifted inwards, not cut off.

    Args:
        length (int): Of the side.
        window (int): Of the window; where the side is shorter, one window begins at 0.
        stride (int): From one window to the next.

    Returns:
        list[int]: In ascending order.
    """
    count = max(length - window + stride - 1, 0) // stride + 1
    return [max(min(place * stride, length - window), 0) for place in range(count)]


def central(length, window):
    """The central part of a side, or all of it: a slice."""
    start = max((length - window) // 2, 0)
    return slice(start, start + window)


class _Logits(nn.Cell):
    """`Segmenter.logits` as a graph of its own."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, images, size):
        return self.network.logits(images, size)


class _Labels(nn.Cell):
    """Logits (1, C, h, w) to the classes (height, width) of an image of its original size."""

    def __init__(self, align_corners):
        super().__init__(auto_prefix=False)
        self.align_corners = align_corners

    def construct(self, logits, height, width):
        return ops.argmax(resize_logits(logits, height, width, self.align_corners), 1)[0]


class Inference:
    """Gives the class of each pixel of an image, one image at a time.

    Squares of one size go through a compiled graph. Images of their own size each would have to be compiled each, so
    they go operator by operator, which gives the same numbers.

    Args:
        network (Segmenter): In evaluation mode when it is called.
        mode (str): One of `MODES`.
        window (int): Side of the window of `slide`, or of the crop of `center`.
        stride (int): From one window to the next.
        align_corners (bool): Of interpolating logits to the size of the image.
    """

    def __init__(self, network, mode, window, stride, align_corners):
        self._logits = _Logits(network)
        self._labels = _Labels(align_corners)
        self._mode = mode
        self._window = window
        self._stride = stride

    def __call__(self, image, height, width):
        """Segments an image.

        Args:
            image (ndarray): uint8 (3, h, w), resized.
            height, width (int): Of the image as it was.

        Returns:
            tuple[ndarray, tuple[slice, slice]]: The classes, and where in the original image they are; only `center`
            leaves a border out, and for it images are not resized.
        """
        if self._mode == "center":
            box = central(height, self._window), central(width, self._window)
            crop = image[(slice(None), *box)]
            filled = np.zeros((3, self._window, self._window), np.uint8)
            filled[:, : crop.shape[1], : crop.shape[2]] = crop
            logits = self._of(filled, crop.shape[1:], compiled=True)
            return logits[0].argmax(0)[: crop.shape[1], : crop.shape[2]], box
        logits = self._of(image, image.shape[1:], compiled=False) if self._mode == "whole" else self._slide(image)
        with pynative():
            labels = self._labels(Tensor(logits), height, width).asnumpy()
        return labels, (slice(0, height), slice(0, width))

    def _slide(self, image):
        """Logits of an image, the mean of all windows that see a pixel: float32 (1, C, h, w)."""
        total, seen = 0.0, np.zeros(image.shape[1:], np.float32)
        for top in window_starts(image.shape[1], self._window, self._stride):
            for left in window_starts(image.shape[2], self._window, self._stride):
                place = slice(top, top + self._window), slice(left, left + self._window)
                part = image[(slice(None), *place)]
                logits = self._of(part, part.shape[1:], compiled=part.shape[1:] == (self._window, self._window))
                if seen.max() == 0:
                    total = np.zeros((1, logits.shape[1], *seen.shape), np.float32)
                total[(slice(None), slice(None), *place)] += logits
                seen[place] += 1
        return total / seen

    def _of(self, image, size, compiled):
        images, sizes = Tensor(np.ascontiguousarray(image[None])), Tensor(np.array([size], np.float32))
        if compiled:
            return self._logits(images, sizes).asnumpy()
        with pynative():
            return self._logits(images, sizes).asnumpy()
