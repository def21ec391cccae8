"""Scale, crop, flip, colours and padding, by hand; and that all that is drawn is a function of its key."""

import cv2
import numpy as np
import pytest

from mindbyol.data.keyed_random import uniform
from mindbyol.segmentation import transforms
from mindbyol.segmentation.transforms import (
    ResizeTransform,
    TrainTransform,
    change_hue,
    change_saturation,
    draw_crop,
    is_mixed,
    photometric,
    scale_and_shift,
    scaled_size,
)


@pytest.mark.parametrize(
    "size, bounds, ratio, expected",
    [
        ((375, 500), (2048, 512), 1.0, (512, 683)),  # 512 / 375 = 1.36533: 682.67
        ((500, 375), (2048, 512), 1.0, (683, 512)),
        ((100, 1000), (2048, 512), 1.0, (205, 2048)),  # the longer side binds
        ((375, 500), (2048, 512), 0.5, (256, 341)),
        ((375, 500), (2048, 512), 0.501, (256, 341)),  # int(256.5) = 256, as mmcv cuts it off
        ((1024, 2048), (2049, 1025), 1.0, (1025, 2049)),  # 2049 / 2048 = 1.000488: 1024.5, 2049
        ((3, 5), None, 1.5, (5, 8)),  # 4.5 and 7.5, half up
        ((1, 100), (50, 50), 1.0, (1, 50)),
    ],
)
def test_sizes(size, bounds, ratio, expected):
    assert scaled_size(*size, bounds, ratio) == expected


@pytest.mark.parametrize(
    "mask, mixed",
    [
        ([[1, 1], [1, 0]], False),  # three quarters are too much
        ([[1, 1, 1], [1, 0, 0]], True),
        ([[1, 1], [1, 1]], False),
        ([[1, 255], [255, 255]], False),  # what does not count is no class
        ([[1, 1, 255], [0, 255, 255]], True),  # two thirds of what counts
        ([[255, 255]], False),
    ],
)
def test_a_crop_of_nearly_one_class_is_not_mixed(mask, mixed):
    assert is_mixed(np.array(mask, np.uint8), 0.75) == mixed


def test_crops_are_drawn_until_one_is_mixed():
    mask = np.zeros((10, 10), np.uint8)
    mask[:, 8:] = 1
    left, right = (0.0, 0.0), (0.999, 0.999)  # columns 0 to 3: one class; 6 to 9: two
    none = np.array([left] * 11).ravel()
    assert draw_crop(mask, 4, 0.75, none) == (slice(0, 4), slice(0, 4))  # the last, as it is
    for place in range(11):
        draws = none.copy()
        draws[2 * place : 2 * place + 2] = right
        assert draw_crop(mask, 4, 0.75, draws) == (slice(6, 10), slice(6, 10))
        assert (draw_crop(mask, 4, 1, draws) == (slice(6, 10), slice(6, 10))) == (place == 0)
    assert draw_crop(mask[:3], 4, 1, np.array([0.9, 0.5])) == (slice(0, 4), slice(3, 7))  # 0.5 * 7 = 3.5


def test_brightness_and_contrast_by_hand():
    image = np.array([[[0, 100, 250]]], np.uint8)
    assert scale_and_shift(image, shift=-16.5).ravel().tolist() == [0, 83, 233]  # 83.5 is cut off
    assert scale_and_shift(image, shift=32).ravel().tolist() == [32, 132, 255]
    assert scale_and_shift(image, 1.5).ravel().tolist() == [0, 150, 255]
    assert scale_and_shift(image, 0.5).ravel().tolist() == [0, 50, 125]


def test_saturation_and_hue_by_hand():
    # HSV of (200, 100, 100): hue 0, saturation 255 * 100 / 200 = 127.5, value 200
    image = np.array([[[200, 100, 100]]], np.uint8)
    np.testing.assert_allclose(change_saturation(image, 1.5).ravel(), [200, 50, 50], atol=2)
    np.testing.assert_allclose(change_saturation(image, 0.5).ravel(), [200, 150, 150], atol=2)
    # 30 of 180 steps are a sixth of the circle: red becomes yellow; -18 steps from 0 are 162, towards magenta
    red = np.array([[[255, 0, 0]]], np.uint8)
    assert change_hue(red, 30).ravel().tolist() == [255, 255, 0]
    assert change_hue(red, -60).ravel().tolist() == [0, 0, 255]
    assert change_hue(red, -18).ravel().tolist() == [255, 0, 153]  # 255 * 36 / 60


NEVER = 0.9


@pytest.mark.parametrize(
    "draws, expected",
    [
        ([NEVER] * 9, lambda x: x),
        ([0, 0.75] + [NEVER] * 7, lambda x: scale_and_shift(x, shift=16)),
        ([NEVER] * 2 + [0, 0.25] + [NEVER] * 5, lambda x: scale_and_shift(x, 0.75)),
        ([NEVER] * 4 + [0, 1.0] + [NEVER] * 3, lambda x: change_saturation(x, 1.5)),
        ([NEVER] * 6 + [0, 0.0, NEVER], lambda x: change_hue(x, -18)),
        ([NEVER] * 6 + [0, 0.999, NEVER], lambda x: change_hue(x, 17)),
        # contrast before or after the hue
        ([NEVER] * 2 + [0, 1] + [NEVER] * 2 + [0, 0.75, 0.5], lambda x: change_hue(scale_and_shift(x, 1.5), 9)),
        ([NEVER] * 2 + [0, 1] + [NEVER] * 2 + [0, 0.75, 0.4], lambda x: scale_and_shift(change_hue(x, 9), 1.5)),
    ],
)
def test_colours_are_changed_in_order(draws, expected):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(photometric(image, np.array(draws, float)), expected(image))


def made(transform, image, mask, seed=1, epoch=0, index=0):
    out = {name: np.full(shape, 99, dtype) for name, (shape, dtype) in transform.outputs().items()}
    return transform(image, mask, seed=seed, epoch=epoch, index=index, out=out)


@pytest.fixture
def image_and_mask():
    """A mask of 4x4 squares, whose value is that of the pixels."""
    mask = np.kron(np.arange(70).reshape(7, 10), np.ones((4, 4))).astype(np.uint8)
    return np.repeat(mask[..., None], 3, 2), mask


def test_small_images_are_filled_up_with_what_does_not_count(image_and_mask):
    transform = TrainTransform(48, None, (1, 1), 1, 0.0, False, 5)
    out = made(transform, *image_and_mask)
    np.testing.assert_array_equal(out["image"][:, :28, :40], image_and_mask[0].transpose(2, 0, 1))
    np.testing.assert_array_equal(out["mask"][:28, :40], image_and_mask[1])
    assert not out["image"][:, 28:].any() and not out["image"][:, :, 40:].any()
    assert (out["mask"][28:] == 255).all() and (out["mask"][:, 40:] == 255).all()
    assert out["size"].tolist() == [28, 40]


def test_image_and_mask_are_cropped_and_mirrored_together(image_and_mask):
    transform = TrainTransform(16, None, (1, 1), 1, 0.5, False, 0)
    mirrored = 0
    for index in range(20):
        out = made(transform, *image_and_mask, index=index)
        np.testing.assert_array_equal(out["image"], np.repeat(out["mask"][None], 3, 0))
        mirrored += int(out["mask"][0, 0]) > int(out["mask"][0, -1])
    assert 4 < mirrored < 16
    assert out["size"].tolist() == [16, 16]


def test_the_scale_is_drawn_evenly_between_the_ratios(image_and_mask):
    transform = TrainTransform(200, (80, 56), (0.5, 2.0), 1, 0.0, False, 0)
    heights = [made(transform, *image_and_mask, index=index)["size"] for index in range(60)]
    expected = [scaled_size(28, 40, (80, 56), 0.5 + 1.5 * uniform(1, 1, 0, index, 0)[0]) for index in range(60)]
    np.testing.assert_array_equal(heights, expected)
    assert min(h for h, _ in expected) < 40 and max(h for h, _ in expected) > 100  # 28 to 112


def test_what_is_drawn_is_a_function_of_seed_epoch_and_index(image_and_mask):
    transform = TrainTransform(16, (80, 56), (0.5, 2.0), 0.75, 0.5, True, 7)
    first = made(transform, *image_and_mask, 1, 2, 3)
    for key in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)):
        again = made(transform, *image_and_mask, *key)
        for name in ("image", "drawn"):
            assert np.array_equal(again[name], first[name]) == (key == (1, 2, 3))
    assert first["drawn"].dtype == np.float32 and (first["drawn"] >= 0).all() and (first["drawn"] <= 1).all()


def test_a_test_image_is_resized_and_its_mask_is_not(image_and_mask):
    image, resized, mask = ResizeTransform((80, 56))(*image_and_mask)
    assert image is image_and_mask[0] and mask is image_and_mask[1]
    np.testing.assert_array_equal(resized.transpose(1, 2, 0), cv2.resize(image, (80, 56)))
    assert resized.flags.c_contiguous
    np.testing.assert_array_equal(ResizeTransform(None)(*image_and_mask)[1].transpose(1, 2, 0), image)


def test_a_scale_that_falls_is_refused():
    with pytest.raises(ValueError, match="^scale_ratio: 2 is above 1; write the smaller number first$"):
        TrainTransform(16, None, (2.0, 1.0), 1, 0.0, False, 0)


def test_the_numbers_are_those_of_mmsegmentation():
    assert (transforms.BRIGHTNESS, transforms.CONTRAST, transforms.SATURATION, transforms.HUE) == (
        32,
        (0.5, 1.5),
        (0.5, 1.5),
        18,
    )
