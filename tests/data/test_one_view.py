import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from mindbyol.data import augmentation
from mindbyol.data.one_view import OneViewTransform
from mindbyol.data.views import EvalTransform, TwoViewTransform

PHOTO = load_sample_images().images[0]  # 427 x 640
PLAIN = {"hflip": 0, "size": 64}


def view(transform, index=0, epoch=0, seed=1):
    return transform(PHOTO, seed, epoch, index)["image"]


def test_what_is_drawn_depends_on_seed_epoch_and_image_alone():
    transform = OneViewTransform(64, color_jitter_prob=1, lighting=0.1)
    assert transform.outputs() == {"image": ((3, 64, 64), np.uint8)}
    np.testing.assert_array_equal(view(transform), view(OneViewTransform(64, color_jitter_prob=1, lighting=0.1)))
    others = [view(transform, index=1), view(transform, epoch=1), view(transform, seed=2)]
    assert all((view(transform) != other).any() for other in others)


def test_a_resized_crop_is_that_of_byols_first_view():
    off = {"color_jitter_prob": 0, "grayscale_prob": 0, "blur_prob": 0, "solarize_prob": 0}
    both = TwoViewTransform(64, "bilinear", **off)(PHOTO, 1, 0, 3)
    np.testing.assert_array_equal(view(OneViewTransform(64), index=3), both["view_1"])


def test_the_centre_is_what_evaluation_sees():
    for share in (0.875, 1.0):
        found = view(OneViewTransform(crop="center", crop_pct=share, **PLAIN))
        np.testing.assert_array_equal(found, EvalTransform(64, share, "bilinear")(PHOTO)["image"])


def test_places_cuts_a_part_of_the_resized_centre():
    """Resize 256, CenterCrop 256, RandomCrop 224: the central square at 256 pixels, cut at every offset."""
    square = augmentation.resize(PHOTO[:, (640 - 427 + 1) // 2 :][:, :427], 256, "bilinear")
    transform = OneViewTransform(224, crop="resize_random_crop", hflip=0)
    offsets = set()
    for index in range(40):
        found = view(transform, index=index).transpose(1, 2, 0)
        draws = augmentation.draw(1, 0, index, 0)
        top, left = int(draws.top * 33), int(draws.left * 33)
        np.testing.assert_array_equal(found, square[top : top + 224, left : left + 224])
        offsets.update((top, left))
    assert min(offsets) < 3 and max(offsets) > 29


def test_mirroring():
    mirrored, plain = view(OneViewTransform(64, hflip=1)), view(OneViewTransform(64, hflip=0))
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


def test_lighting_shifts_each_channel_along_the_colours_of_imagenet():
    shifts = np.array([augmentation.draw_lighting(0, 0, index, 0.1) for index in range(20000)])
    vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    expected = (25.5**2) * vectors @ np.diag(np.array([0.2175, 0.0188, 0.0045]) ** 2) @ vectors.T
    np.testing.assert_allclose(np.cov(shifts.T), expected, atol=0.4)
    assert np.abs(shifts.mean(0)).max() < 0.1
    plain, lit = view(OneViewTransform(**PLAIN), index=5), view(OneViewTransform(lighting=0.1, **PLAIN), index=5)
    expected = plain + np.round(augmentation.draw_lighting(1, 0, 5, 0.1))[:, None, None]
    np.testing.assert_array_equal(lit, np.clip(expected, 0, 255))


def test_an_unknown_crop_is_named():
    with pytest.raises(ValueError, match="train_crop: 'middle' is not known; choose one of random_resized_crop"):
        OneViewTransform(crop="middle")
