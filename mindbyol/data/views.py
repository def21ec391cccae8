"""From an image to its views: which operations are drawn, and carrying them out.

A transform declares what it makes of one image: `outputs()` maps a name to the shape and dtype of an array, in order.
Called as `transform(image, seed=..., epoch=..., index=..., out=...)`, it writes these arrays to those of `out`, whole:
what was there before is another image's. Lists of any length, such as boxes, are filled up, and a bool array says which
entries are meant. Where `takes_target` is true, what `source.target(index)` gave follows the image.
"""

import cv2
import numpy as np

from mindbyol.data import augmentation
from mindbyol.data.view_recipe import PER_VIEW, view_recipes  # noqa: F401  (PER_VIEW is known from here)


def _hue(planes, turn):
    augmentation.adjust_hsv(planes, hue=turn)


def _saturation_and_hue(planes, factor_and_turn):
    augmentation.adjust_hsv(planes, *factor_and_turn)


JITTER_OPERATIONS = {
    "deepmind": {
        "brightness": augmentation.adjust_brightness,
        "contrast": augmentation.adjust_contrast,
        "saturation": augmentation.adjust_saturation,
        "hue": _hue,
        "saturation and hue": _saturation_and_hue,
    },
    "torchvision": {
        "brightness": augmentation.torchvision_brightness,
        "contrast": augmentation.torchvision_contrast,
        "saturation": augmentation.torchvision_saturation,
        "hue": _hue,
    },
}


class ViewTransform:
    """Makes views of an image, one for each of `names`.

    Args:
        size (int): Side of the views in pixels (`image_resize`).
        interpolation (str): "bicubic" or "bilinear".
        jitter (str): Formulas of the colour jitter, "deepmind" or "torchvision".
        **per_view: Keys of `PER_VIEW`, such as `scale` or `blur_prob`: the numbers of one view for both, or those of
            the first view, then those of the second; by default the paper's.

    Raises:
        TypeError: There is no such key.
        ValueError: A value is out of range, or there are not as many numbers as one or two views take.
    """

    takes_target = False
    names = ()

    def __init__(self, size=224, interpolation="bicubic", jitter="deepmind", **per_view):
        if size < 1:
            raise ValueError(f"image_resize: {size} is below 1; it is the side of a view in pixels")
        if interpolation not in augmentation.INTERPOLATIONS:
            raise ValueError(
                f"interpolation: {interpolation!r} is not known; choose one of {', '.join(augmentation.INTERPOLATIONS)}"
            )
        if jitter not in JITTER_OPERATIONS:
            raise ValueError(f"jitter: {jitter!r} is not known; choose one of {', '.join(JITTER_OPERATIONS)}")
        self.size = size
        self.interpolation = interpolation
        self.jitter = jitter
        self.recipes = view_recipes(per_view)

    def outputs(self):
        """Returns {name: ((3, size, size), uint8)} of each view."""
        return {name: ((3, self.size, self.size), np.uint8) for name in self.names}

    def __call__(self, image, seed, epoch, index, out=None):
        """Makes the views of one image.

        Args:
            image (numpy.ndarray): uint8 RGB, shape (height, width, 3).
            seed (int): Seed of the run.
            epoch (int): Epoch, from 0.
            index (int): Index of the image in its source.
            out (dict[str, numpy.ndarray]): Arrays as `outputs` says to write to; by default new ones.

        Returns:
            dict[str, numpy.ndarray]: `out`.
        """
        out = _new(self.outputs()) if out is None else out
        for view, planes in enumerate(out.values()):
            self._apply(self.operations(image, seed, epoch, index, view), image, planes)
        return out

    def operations(self, image, seed, epoch, index, view):
        """Lists the operations drawn for a view, in the order in which they are carried out.

        Returns:
            list[tuple[str, object]]: Name of each operation and what was drawn for it: the box (top, left, height,
            width) of the crop in pixels, the strength of a jitter operation, the sigma of the blur in pixels, the
            threshold of the solarization, or None.
        """
        recipe = self.recipes[view]
        draws = augmentation.draw(seed, epoch, index, view)
        drawn = [("crop", self._box(*image.shape[:2], recipe, draws))]
        if draws.flip < recipe.hflip:
            drawn.append(("flip", None))
        if draws.jitter < recipe.color_jitter_prob:
            drawn += self._jitter_operations(recipe.color_jitter, draws)
        if draws.grayscale < recipe.grayscale_prob:
            drawn.append(("grayscale", None))
        if draws.blur < recipe.blur_prob and augmentation.blur_radius(self.size):
            low, high = recipe.blur_sigma
            drawn.append(("blur", low + (high - low) * draws.sigma))
        if draws.solarize < recipe.solarize_prob:
            drawn.append(("solarize", recipe.solarize_threshold))
        return drawn

    def _box(self, height, width, recipe, draws):
        return augmentation.crop_box(height, width, recipe.scale, recipe.ratio, draws)

    def _jitter_operations(self, strengths, draws):
        brightness, contrast, saturation, hue = strengths
        unit = {name: 2 * getattr(draws, name) - 1 for name in augmentation.JITTER_ORDERS[0]}
        value = {
            "brightness": brightness * unit["brightness"],
            "contrast": max(1 + contrast * unit["contrast"], 0),
            "saturation": max(1 + saturation * unit["saturation"], 0),
            "hue": hue * unit["hue"],
        }
        if self.jitter == "torchvision":
            value["brightness"] = max(1 + value["brightness"], 0)
        order = augmentation.JITTER_ORDERS[int(draws.order * len(augmentation.JITTER_ORDERS))]
        drawn = [(name, value[name]) for name in order if strengths[augmentation.JITTER_ORDERS[0].index(name)]]
        if self.jitter == "deepmind":
            drawn = _join_hsv(drawn)
        return drawn

    def _apply(self, operations, image, planes):
        (_, (top, left, height, width)), *rest = operations
        pixels = augmentation.resize(image[top : top + height, left : left + width], self.size, self.interpolation)
        if rest and rest[0][0] == "flip":
            pixels = cv2.flip(pixels, 1)
            rest = rest[1:]
        cv2.split(pixels, tuple(planes))
        gray = False
        for name, value in rest:
            if name == "grayscale":
                augmentation.to_luma(planes)
                planes, all_planes, gray = planes[:1], planes, True
            elif name == "blur":
                augmentation.blur(planes, value, augmentation.blur_radius(self.size))
            elif name == "solarize":
                augmentation.solarize(planes, value)
            elif name == "lighting":
                augmentation.shift_channels(planes, value)
            else:
                JITTER_OPERATIONS[self.jitter][name](planes, value)
        if gray:
            all_planes[1:] = planes


class TwoViewTransform(ViewTransform):
    """Makes the two views of an image that BYOL compares."""

    names = ("view_1", "view_2")


class EvalTransform:
    """The central square of an image, resized: the reference's evaluation preprocessing.

    Args:
        size (int): Side of the result in pixels (`image_resize`).
        crop_pct (float): Side of the square as a share of the image's shorter side.
        interpolation (str): "bicubic" or "bilinear", without antialiasing.
    """

    takes_target = False

    def __init__(self, size=224, crop_pct=0.875, interpolation="bicubic"):
        if not 0 < crop_pct <= 1:
            raise ValueError(f"crop_pct: {crop_pct} is not above 0 and up to 1; it is a share of the shorter side")
        if interpolation not in augmentation.INTERPOLATIONS:
            raise ValueError(
                f"interpolation: {interpolation!r} is not known; choose one of {', '.join(augmentation.INTERPOLATIONS)}"
            )
        self.size = size
        self.crop_pct = crop_pct
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
        out = _new(self.outputs()) if out is None else out
        top, left, side, _ = augmentation.central_box(*image.shape[:2], self.crop_pct)
        pixels = augmentation.resize(image[top : top + side, left : left + side], self.size, self.interpolation)
        cv2.split(pixels, tuple(out["image"]))
        return out


def _new(outputs):
    return {name: np.empty(shape, dtype) for name, (shape, dtype) in outputs.items()}


def _join_hsv(drawn):
    """Saturation and hue next to each other commute and share one way to HSV and back."""
    names = [name for name, _ in drawn]
    if {"saturation", "hue"} <= set(names) and abs(names.index("saturation") - names.index("hue")) == 1:
        first = min(names.index("saturation"), names.index("hue"))
        values = dict(drawn)
        drawn[first : first + 2] = [("saturation and hue", (values["saturation"], values["hue"]))]
    return drawn
