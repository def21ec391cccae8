"""From an image to the one view that a classifier is trained on."""

from mindbyol.data import augmentation
from mindbyol.data.views import ViewTransform

CROPS = ("random_resized_crop", "resize_random_crop", "center")
_NEVER = {"grayscale_prob": 0, "blur_prob": 0, "solarize_prob": 0}  # what happens to BYOL's views alone


class OneViewTransform(ViewTransform):
    """Crops and mirrors an image, and changes its colours if that is asked for.

    What is drawn is a function of (seed, epoch, index), as for BYOL's views.

    Args:
        size (int): Side of the view in pixels (`image_resize`).
        interpolation, jitter: As for ViewTransform.
        crop (str): "random_resized_crop", of `scale` and `ratio`; "resize_random_crop", of the central square, resized
            to `size / crop_pct`, a part of `size` at a random place; "center", the square of an EvalTransform.
        crop_pct (float): As for EvalTransform; 0.875 of 256 pixels are 224.
        lighting (float): Standard deviation of PCA lighting; 0 for none.
        color_jitter_prob (float): As for ViewTransform, but 0 by default.
        **of_view: `scale`, `ratio`, `hflip` and `color_jitter`: the numbers of one view.

    Raises:
        TypeError, ValueError: As ViewTransform.
    """

    names = ("image",)

    def __init__(
        self,
        size=224,
        interpolation="bilinear",
        jitter="torchvision",
        crop="random_resized_crop",
        crop_pct=0.875,
        lighting=0.0,
        color_jitter_prob=0.0,
        **of_view,
    ):
        super().__init__(size, interpolation, jitter, color_jitter_prob=color_jitter_prob, **of_view, **_NEVER)
        if crop not in CROPS:
            raise ValueError(f"train_crop: {crop!r} is not known; choose one of {', '.join(CROPS)}")
        self.crop = crop
        self.crop_pct = crop_pct
        self.lighting = lighting

    def __call__(self, image, seed, epoch, index, out=None):
        """Makes the view of one image; see ViewTransform."""
        if self.crop == "resize_random_crop":
            top, left, side, _ = augmentation.central_box(*image.shape[:2], 1.0)
            resized = round(self.size / self.crop_pct)
            image = augmentation.resize(image[top : top + side, left : left + side], resized, self.interpolation)
        return super().__call__(image, seed, epoch, index, out)

    def operations(self, image, seed, epoch, index, view):
        """As of ViewTransform; lighting is the last, the number that it adds to each channel beside it."""
        drawn = super().operations(image, seed, epoch, index, view)
        if self.lighting:
            drawn.append(("lighting", augmentation.draw_lighting(seed, epoch, index, self.lighting)))
        return drawn

    def _box(self, height, width, recipe, draws):
        if self.crop == "random_resized_crop":
            return super()._box(height, width, recipe, draws)
        if self.crop == "center":
            return augmentation.central_box(height, width, self.crop_pct)
        top, left = int(draws.top * (height - self.size + 1)), int(draws.left * (width - self.size + 1))
        return top, left, self.size, self.size
