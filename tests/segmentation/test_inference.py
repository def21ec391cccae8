"""Windows by hand; sliding equals whole where windows do not overlap; overlapping ones are averaged."""

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor, nn, ops

from mindbyol.runtime import pynative
from mindbyol.segmentation.inference import Inference, central, window_starts
from mindbyol.segmentation.network import resize_logits


@pytest.mark.parametrize(
    "length, window, stride, starts",
    [
        (2049, 769, 513, [0, 513, 1026, 1280]),  # the last one is shifted inwards
        (1025, 769, 513, [0, 256]),
        (769, 769, 513, [0]),
        (700, 769, 513, [0]),
        (12, 4, 4, [0, 4, 8]),
        (13, 4, 4, [0, 4, 8, 9]),
    ],
)
def test_windows_cover_a_side(length, window, stride, starts):
    found = window_starts(length, window, stride)
    assert found == starts
    assert set(range(length)) <= {place + step for place in found for step in range(window)}


def test_the_central_part():
    assert central(375, 513) == slice(0, 513)
    assert central(10, 4) == slice(3, 7)
    assert central(11, 4) == slice(3, 7)


class Pointwise(nn.Cell):
    """A network that sees one pixel at a time: logits of class c are (c + 1) (x mod 7) - c^2, less what is padding."""

    align_corners = False

    def __init__(self):
        super().__init__()
        self.seen = []

    def logits(self, images, size):
        value = ops.floor_mod(images.astype(ms.float32)[:, :1], Tensor(7.0, ms.float32))
        classes = ops.arange(4).astype(ms.float32).reshape(1, 4, 1, 1)
        return (classes + 1.0) * value - classes * classes * 3.0 + 0.0 * size.sum()


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, height, width)).astype(np.uint8)


def expected(pixels):
    value = (pixels[0] % 7).astype(float)
    return np.stack([(c + 1) * value - 3 * c * c for c in range(4)]).argmax(0)


@pytest.mark.parametrize("size", [(8, 12), (9, 11), (3, 9), (3, 2)])
def test_sliding_equals_whole(size):
    """Of a network that sees a pixel at a time, whatever windows overlap; also where a side is shorter than one."""
    pixels = image(*size)
    for mode in ("whole", "slide"):
        labels, box = Inference(Pointwise(), mode, 4, 4, False)(pixels, *size)
        np.testing.assert_array_equal(labels, expected(pixels))
        assert box == (slice(0, size[0]), slice(0, size[1]))


class ByWindow(nn.Cell):
    """Logits tell where in its window a pixel is: that windows are averaged can be seen."""

    align_corners = False

    def logits(self, images, size):
        column = ops.arange(images.shape[3]).astype(ms.float32)
        one = ops.broadcast_to(column, (1, images.shape[2], images.shape[3]))
        return ops.stack((one, 6.0 - 3.0 * one), 1) + 0.0 * size.sum()


def test_overlapping_windows_are_averaged():
    inference = Inference(ByWindow(), "slide", 4, 2, False)
    logits = inference._slide(image(4, 6))
    # columns of the windows at 0 and 2: 0 1 2 3 and 0 1 2 3; the middle ones are means of 2, 0 and 3, 1
    np.testing.assert_allclose(logits[0, 0, 1], [0, 1, 1, 2, 2, 3])
    np.testing.assert_allclose(logits[0, 1, 1], [6, 3, 3, 0, 0, -3])


def test_the_central_crop_leaves_a_border_out():
    pixels = image(9, 6)
    labels, (rows, columns) = Inference(Pointwise(), "center", 4, 4, False)(pixels, 9, 6)
    assert (rows, columns) == (slice(2, 6), slice(1, 5))
    np.testing.assert_array_equal(labels, expected(pixels)[2:6, 1:5])
    labels, box = Inference(Pointwise(), "center", 8, 8, False)(pixels, 9, 6)  # wider than the image
    np.testing.assert_array_equal(labels, expected(pixels)[box])
    assert labels.shape == (8, 6)


@pytest.mark.parametrize("align_corners", [False, True])
def test_logits_are_resized_to_the_image_as_it_was(align_corners):
    """Linear in between, whatever the direction: by hand along a row."""
    logits = Tensor(np.array([[[[0.0, 4.0]]]], np.float32))
    with pynative():
        found = resize_logits(logits, 1, 4, align_corners).asnumpy().ravel()
    np.testing.assert_allclose(found, [0, 4 / 3, 8 / 3, 4] if align_corners else [0, 1, 3, 4], atol=1e-6)


def test_classes_are_those_of_the_resized_logits():
    """A class may win between two pixels where neither of them has it."""

    class Three(nn.Cell):
        align_corners = True

        def logits(self, images, size):
            return Tensor(np.array([[[[9, 0]], [[0, 9]], [[5, 5]]]], np.float32)) + 0.0 * size.sum()

    labels, _ = Inference(Three(), "whole", 4, 4, True)(image(1, 2), 1, 3)
    assert labels.tolist() == [[0, 2, 1]]
