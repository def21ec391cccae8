"""BYOL's augmentations: what is drawn for a view, and the operations on its pixels.

The operations follow DeepMind's BYOL code: one-draw crop without antialiasing, additive brightness, contrast about the
mean of each channel, saturation and hue in HSV, zero-padded blur. A view is worked on in place, one uint8 plane a
channel, shape (3, size, size); OpenCV rounds and clips to 0..255 after each operation, as the reference clips.
"""

import math
from itertools import permutations
from statistics import NormalDist
from typing import NamedTuple

import cv2
import numpy as np

from mindbyol.data.keyed_random import uniform

INTERPOLATIONS = {"bicubic": cv2.INTER_CUBIC, "bilinear": cv2.INTER_LINEAR}
JITTER_ORDERS = tuple(permutations(("brightness", "contrast", "saturation", "hue")))
LUMA = (0.2989, 0.5870, 0.1140)
# Principal components of the colours of ImageNet, RGB in 0..1, as published with fb.resnet.torch: a vector a column.
_COLOUR_VALUES = np.array([0.2175, 0.0188, 0.0045])
_COLOUR_VECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
_LIGHTING_STREAM = 2**32 + 1  # in the place of a view's number: apart from what is drawn for views, and for the order


class Draws(NamedTuple):
    """The random numbers of one view, each uniform in [0, 1).

    All are drawn for every view, whatever the recipe uses: switching an operation off does not move the others.
    """

    area: float
    aspect: float
    top: float
    left: float
    flip: float
    jitter: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    order: float
    grayscale: float
    blur: float
    sigma: float
    solarize: float


def draw(seed, epoch, index, view):
    """Draws the random numbers of one view.

    Args:
        seed (int): Seed of the run.
        epoch (int): Epoch, from 0.
        index (int): Index of the image in its source.
        view (int): 0 for the first view, 1 for the second.

    Returns:
        Draws: Uniform numbers in [0, 1); see `keyed_random.uniform`.
    """
    return Draws(*uniform(len(Draws._fields), seed, epoch, index, view).tolist())


def draw_lighting(seed, epoch, index, sigma):
    """Draws what PCA lighting adds to the channels of an image (Krizhevsky et al. 2012, section 4.1).

    The eigenvectors of the colours of ImageNet, each times its eigenvalue and a normal number, are added up.

    Args:
        seed, epoch, index (int): As for `draw`.
        sigma (float): Standard deviation of the three normal numbers; 0.1 in the paper.

    Returns:
        numpy.ndarray: float64, shape (3,), RGB on the 0-255 scale.
    """
    numbers = np.maximum(uniform(3, seed, epoch, index, _LIGHTING_STREAM), 2.0**-54)  # 0 has no normal number
    normal = np.array([NormalDist(0, sigma).inv_cdf(number) for number in numbers])
    return 255 * _COLOUR_VECTORS @ (_COLOUR_VALUES * normal)


def crop_box(height, width, scale, ratio, draws):
    """Draws the box of the random resized crop: one draw, clipped to the image, without retries.

    Args:
        height (int): Height of the image in pixels.
        width (int): Width of the image in pixels.
        scale (tuple[float, float]): Range of the uniform share of the image's area.
        ratio (tuple[float, float]): Range of width / height, uniform in its logarithm.
        draws (Draws): Uniform numbers of the view.

    Returns:
        tuple[int, int, int, int]: Top, left, height and width in pixels.
    """
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws.area)
    aspect = math.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * draws.aspect)
    crop_width = min(max(round(math.sqrt(area * aspect)), 1), width)
    crop_height = min(max(round(math.sqrt(area / aspect)), 1), height)
    top = int(draws.top * (height - crop_height + 1))
    left = int(draws.left * (width - crop_width + 1))
    return top, left, crop_height, crop_width


def central_box(height, width, share):
    """The central square with a share of the shorter side: top, left, height and width in pixels."""
    side = max(int(share * min(height, width)), 1)
    return (height - side + 1) // 2, (width - side + 1) // 2, side, side


def resize(image, size, interpolation):
    """Resizes to size x size without antialiasing, as the reference does.

    OpenCV's cubic kernel has a = -0.75 where the reference's has a = -0.5.

    Args:
        image (numpy.ndarray): uint8, shape (height, width, 3).
        size (int): Side of the result in pixels.
        interpolation (str): "bicubic" or "bilinear".

    Returns:
        numpy.ndarray: uint8, shape (size, size, 3).
    """
    return cv2.resize(image, (size, size), interpolation=INTERPOLATIONS[interpolation])


def adjust_brightness(planes, delta):
    """Adds `delta` (a share of 255) to every value, in place."""
    rows = planes.reshape(-1, planes.shape[-1])
    cv2.add(rows, round(delta * 255), dst=rows)


def adjust_contrast(planes, factor):
    """Scales the distance of every value from the mean of its channel by `factor`, in place."""
    for plane in planes:
        cv2.addWeighted(plane, factor, plane, 0, (1 - factor) * cv2.mean(plane)[0], dst=plane)


def adjust_hsv(planes, saturation=1.0, hue=0.0):
    """Multiplies the saturation in HSV by `saturation` and turns the hue by `hue` (1 is a full turn), in place."""
    hsv = cv2.cvtColor(cv2.merge(tuple(planes)), cv2.COLOR_RGB2HSV_FULL)
    h, s, v = cv2.split(hsv)
    h += np.uint8(round(hue * 256) % 256)  # 256 levels are a full turn, so overflow wraps rightly.
    if saturation != 1:
        cv2.convertScaleAbs(s, s, saturation)
    cv2.split(cv2.cvtColor(cv2.merge((h, s, v), hsv), cv2.COLOR_HSV2RGB_FULL), tuple(planes))


def adjust_saturation(planes, factor):
    """Multiplies the saturation in HSV by `factor`, in place."""
    if factor > 1:  # Saturation ends at 1, pixel by pixel.
        adjust_hsv(planes, saturation=factor)
        return
    # V stays, and S scales the distance of each channel from V, so that there is no need to go to HSV and back.
    value = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
    for plane in planes:
        cv2.addWeighted(plane, factor, value, 1 - factor, 0, dst=plane)


def to_luma(planes):
    """Turns the first plane into 0.299 R + 0.587 G + 0.114 B, in place."""
    cv2.cvtColor(cv2.merge(tuple(planes)), cv2.COLOR_RGB2GRAY, dst=planes[0])


def blur_radius(size):
    """Radius of the blur kernel for views of `size` pixels: 11, so 23 taps, at 224; below 20 pixels none."""
    return int(size / 10 / 2)


def blur(planes, sigma, radius):
    """Gaussian blur with zero padding, in place.

    Args:
        planes (numpy.ndarray): uint8, shape (channels, height, width).
        sigma (float): Standard deviation in pixels.
        radius (int): The kernel has 2 * radius + 1 taps. Those beyond 3 sigma, 0.3% of the weight, are left out.
    """
    radius = min(radius, math.ceil(3 * sigma))
    if radius == 0:
        return
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma)
    for plane in planes:
        cv2.sepFilter2D(plane, -1, kernel, kernel, dst=plane, borderType=cv2.BORDER_CONSTANT)


def solarize(planes, threshold):
    """Inverts every value from `threshold` (0..255) on, in place."""
    values = np.arange(256)
    table = np.where(values < threshold, values, 255 - values).astype(np.uint8)
    for plane in planes:
        cv2.LUT(plane, table, dst=plane)


def shift_channels(planes, shift):
    """Adds a number of its own, on the 0-255 scale, to every value of each channel, in place."""
    for plane, of_channel in zip(planes, shift):
        cv2.add(plane, round(float(of_channel)), dst=plane)


def torchvision_brightness(planes, factor):
    """Multiplies every value by `factor`, in place."""
    for plane in planes:
        cv2.convertScaleAbs(plane, plane, factor)


def torchvision_contrast(planes, factor):
    """Scales the distance of every value from the mean of the gray image by `factor`, in place."""
    mean = cv2.mean(cv2.cvtColor(cv2.merge(tuple(planes)), cv2.COLOR_RGB2GRAY))[0]
    for plane in planes:
        cv2.addWeighted(plane, factor, plane, 0, (1 - factor) * mean, dst=plane)


def torchvision_saturation(planes, factor):
    """Scales the distance of every pixel from its gray value by `factor`, in place."""
    gray = cv2.cvtColor(cv2.merge(tuple(planes)), cv2.COLOR_RGB2GRAY)
    for plane in planes:
        cv2.addWeighted(plane, factor, gray, 1 - factor, 0, dst=plane)
