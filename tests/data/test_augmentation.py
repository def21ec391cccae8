"""Each operation against its formula in slow float64 NumPy, and the distributions of what is drawn."""

import colorsys

import cv2
import numpy as np
import pytest

from mindbyol.config import parse_args
from mindbyol.data import augmentation, two_view_transform_from_args
from mindbyol.data.keyed_random import permutation
from mindbyol.data.views import PER_VIEW, EvalTransform, TwoViewTransform

OFF = dict(hflip=0, color_jitter_prob=0, grayscale_prob=0, blur_prob=0, solarize_prob=0)


@pytest.fixture(scope="module")
def images(photos):
    """Two photographs as planes, uint8, shape (3, 112, 112)."""
    return [np.ascontiguousarray(photo[10:122, 20:132].transpose(2, 0, 1)) for photo in photos]


def check(operation, formula, images, *arguments, level=1.0):
    """The operation, in place, is within `level` gray levels of the formula on average, and unbiased."""
    for planes in images:
        expected = np.clip(formula(planes / 255.0, *arguments), 0, 1) * 255
        result = planes.copy()
        operation(result, *arguments)
        difference = result - expected
        assert abs(expected - planes).mean() > level, "the formula must do something that can be seen"
        assert abs(difference).mean() < level
        assert abs(difference.mean()) < level / 2


@pytest.mark.parametrize("delta", [-0.37, -0.1, 0.21, 0.4])
def test_brightness_is_added(images, delta):
    check(augmentation.adjust_brightness, lambda x, d: x + d, images, delta)  # Adds whole levels.


@pytest.mark.parametrize("factor", [0.6, 0.83, 1.2, 1.4])
def test_contrast_turns_about_the_mean_of_each_channel(images, factor):
    def formula(x, f):
        mean = x.mean(axis=(1, 2), keepdims=True)
        return f * (x - mean) + mean

    check(augmentation.adjust_contrast, formula, images, factor, level=0.3)


def hsv_formula(x, saturation, hue):
    pixels = []
    for r, g, b in x.reshape(3, -1).T:
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        pixels.append(colorsys.hsv_to_rgb((h + hue) % 1, min(s * saturation, 1), v))
    return np.array(pixels).T.reshape(x.shape)


@pytest.mark.parametrize("saturation, hue", [(0.7, 0), (1.35, 0), (1, 0.1), (1, -0.083), (0.8, 0.07), (1.2, -0.1)])
def test_saturation_and_hue_change_in_hsv(images, saturation, hue):
    check(augmentation.adjust_hsv, hsv_formula, images, saturation, hue)


@pytest.mark.parametrize("factor", [0.6, 0.85, 1.3])
def test_saturation_alone_changes_in_hsv(images, factor):
    check(augmentation.adjust_saturation, lambda x, f: hsv_formula(x, f, 0), images, factor)


@pytest.mark.parametrize("factor", [0.6, 1.3])
def test_torchvision_brightness_multiplies(images, factor):
    check(augmentation.torchvision_brightness, lambda x, f: f * x, images, factor, level=0.3)


def luma(x):
    return np.tensordot(augmentation.LUMA, x, 1)


@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_torchvision_contrast_blends_with_the_mean_gray(images, factor):
    check(augmentation.torchvision_contrast, lambda x, f: f * x + (1 - f) * luma(x).mean(), images, factor, level=0.3)


@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_torchvision_saturation_blends_with_gray(images, factor):
    check(augmentation.torchvision_saturation, lambda x, f: f * x + (1 - f) * luma(x), images, factor, level=0.5)


def test_grayscale_is_the_luma(images):
    def first_plane(planes):
        augmentation.to_luma(planes)
        planes[1:] = planes[0]

    check(first_plane, lambda x: np.stack([luma(x)] * 3), images, level=0.3)


@pytest.mark.parametrize("sigma", [0.4, 0.7, 1.0, 1.5, 2.0])
def test_blur_is_the_reference_kernel_of_23_taps_with_zero_padding(images, sigma):
    def formula(x, sigma, radius):
        taps = np.exp(-np.arange(-radius, radius + 1) ** 2 / (2 * sigma**2))
        taps /= taps.sum()
        blur = lambda row: np.convolve(row, taps, "same")  # noqa: E731
        return np.apply_along_axis(blur, 2, np.apply_along_axis(blur, 1, x))

    assert (
        augmentation.blur_radius(224) == 11 and augmentation.blur_radius(96) == 4 and augmentation.blur_radius(19) == 0
    )
    check(augmentation.blur, formula, images, sigma, 11, level=0.6)
    if sigma < 1:
        check(augmentation.blur, formula, images, sigma, 4, level=0.6)


def test_a_blur_too_small_to_see_changes_nothing(images):
    result = images[0].copy()
    augmentation.blur(result, 0.1, 11)
    np.testing.assert_array_equal(result, images[0])


@pytest.mark.parametrize("threshold", [128, 60])
def test_solarize_inverts_from_the_threshold_on(images, threshold):
    formula = lambda x, t: np.where(x * 255 < t, x, 1 - x)  # noqa: E731
    check(augmentation.solarize, formula, images, threshold, level=1e-6)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_crops_are_resized_as_by_the_reference(photos, interpolation):
    """Sampling at half-pixel centres, no antialiasing; bicubic: Keys' kernel with a = -0.5."""

    def weights(length, size):
        matrix = np.zeros((size, length))
        for row in range(size):
            centre = (row + 0.5) * length / size - 0.5
            first = int(np.floor(centre))
            for tap in range(first - 1, first + 3):
                d = abs(centre - tap)
                if interpolation == "bilinear":
                    weight = max(0, 1 - d)
                else:
                    weight = 1.5 * d**3 - 2.5 * d**2 + 1 if d < 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
                matrix[row, min(max(tap, 0), length - 1)] += weight
        return matrix

    differences = []
    for draws in draws_of(20):
        top, left, height, width = augmentation.crop_box(133, 200, (0.08, 1), (3 / 4, 4 / 3), draws)
        for photo in photos:
            crop = photo[top : top + height, left : left + width]
            expected = np.einsum("yi,ijc->yjc", weights(height, 96), crop.astype(float))
            expected = np.einsum("xj,yjc->yxc", weights(width, 96), expected)
            difference = augmentation.resize(crop, 96, interpolation) - np.clip(expected, 0, 255)
            differences.append(abs(difference).mean())
            assert abs(difference.mean()) < 0.2
    assert np.mean(differences) < (0.3 if interpolation == "bilinear" else 0.8)


def draws_of(count, view=0):
    return [augmentation.draw(11, 0, index, view) for index in range(count)]


def test_draws_are_uniform_and_independent():
    draws = np.array(draws_of(4000))
    assert draws.min() >= 0 and draws.max() < 1
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.02)
    for column in draws.T:  # Kolmogorov-Smirnov at 0.1%.
        assert abs(np.sort(column) - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / np.sqrt(4000)
    correlation = np.corrcoef(draws.T) - np.eye(draws.shape[1])
    assert abs(correlation).max() < 0.07


def test_draws_are_a_function_of_seed_epoch_index_and_view():
    assert augmentation.draw(1, 2, 3, 1) == augmentation.draw(1, 2, 3, 1)
    keys = [(1, 2, 3, 1), (2, 2, 3, 1), (1, 3, 3, 1), (1, 2, 4, 1), (1, 2, 3, 0), (1, 3, 2, 1)]
    assert len({augmentation.draw(*key) for key in keys}) == len(keys)
    # The stream of every run there is: it must never change.
    assert augmentation.draw(42, 0, 0, 0)[:2] == (0.8201981478608876, 0.18924562408645496)
    assert permutation(42, 1, 8).tolist() == [0, 3, 7, 1, 2, 5, 6, 4]


def test_an_epoch_is_a_permutation():
    orders = [permutation(5, epoch, 1000) for epoch in range(2)]
    assert all(np.array_equal(np.sort(order), np.arange(1000)) for order in orders)
    assert not np.array_equal(*orders)
    assert abs(np.corrcoef(orders[0], np.arange(1000))[0, 1]) < 0.1


def test_the_crop_has_the_area_and_aspect_of_the_paper():
    boxes = np.array(
        [augmentation.crop_box(4000, 4000, (0.08, 0.5), (3 / 4, 4 / 3), draws) for draws in draws_of(3000)]
    )
    top, left, height, width = boxes.T
    area, aspect = height * width / 4000**2, np.log(width / height)
    np.testing.assert_allclose([area.min(), area.mean(), area.max()], [0.08, 0.29, 0.5], atol=0.008)
    np.testing.assert_allclose([aspect.min(), aspect.mean(), aspect.max()], np.log([3 / 4, 1, 4 / 3]), atol=0.01)
    np.testing.assert_allclose(np.quantile(aspect, [0.25, 0.75]), np.log(4 / 3) * np.array([-0.5, 0.5]), atol=0.02)
    assert (top >= 0).all() and (top + height <= 4000).all() and (left + width <= 4000).all()
    np.testing.assert_allclose((top / (4000 - height)).mean(), 0.5, atol=0.02)
    np.testing.assert_allclose((left / (4000 - width)).mean(), 0.5, atol=0.02)
    correlation = np.corrcoef([area, aspect, top / (4000 - height), left / (4000 - width)]) - np.eye(4)
    assert abs(correlation).max() < 0.07


def test_the_crop_is_clipped_to_the_image_and_never_empty():
    for draws in draws_of(200):
        for size in ((1, 1), (1, 50), (30, 2), (7, 7)):
            top, left, height, width = augmentation.crop_box(*size, (0.08, 1.0), (3 / 4, 4 / 3), draws)
            assert 1 <= height <= size[0] - top and 1 <= width <= size[1] - left


def test_operations_come_as_often_and_as_strong_as_the_recipe_says():
    transform = TwoViewTransform()
    image = np.zeros((100, 100, 3), np.uint8)
    drawn = [[transform.operations(image, 3, 0, i, view) for i in range(3000)] for view in range(2)]
    share = [{} for _ in range(2)]
    value = {}
    for view in range(2):
        for operations in drawn[view]:
            for name, strength in operations:
                share[view][name] = share[view].get(name, 0) + 1 / 3000
                value.setdefault(name, []).append(strength)
    both = {"crop": 1, "flip": 0.5, "brightness": 0.8, "contrast": 0.8, "grayscale": 0.2, "saturation and hue": 0.4}
    both.update(saturation=0.4, hue=0.4)
    assert share[0] == pytest.approx({**both, "blur": 1.0}, abs=0.03)
    assert share[1] == pytest.approx({**both, "blur": 0.1, "solarize": 0.2}, abs=0.03)
    names = ["flip", "brightness", "grayscale", "blur", "solarize"]
    happened = [[name in dict(operations) for name in names] for operations in drawn[1]]
    assert abs(np.corrcoef(np.transpose(happened)) - np.eye(len(names))).max() < 0.07
    ranges = {"brightness": (-0.4, 0.4), "contrast": (0.6, 1.4), "saturation": (0.8, 1.2), "hue": (-0.1, 0.1)}
    for name, (low, high) in {**ranges, "blur": (0.1, 2.0)}.items():
        middle = (low + high) / 2
        np.testing.assert_allclose(
            [np.min(value[name]), np.mean(value[name]), np.max(value[name])], [low, middle, high], atol=0.05 * high
        )


def test_all_orders_of_the_jitter_are_as_frequent():
    assert len(set(augmentation.JITTER_ORDERS)) == 24
    transform = TwoViewTransform(jitter="torchvision", color_jitter_prob=1)
    image = np.zeros((10, 10, 3), np.uint8)
    count = {}
    for index in range(4800):
        order = tuple(
            name for name, _ in transform.operations(image, 0, 0, index, 0) if name in augmentation.JITTER_ORDERS[0]
        )
        count[order] = count.get(order, 0) + 1
    assert len(count) == 24 and min(count.values()) > 150 and max(count.values()) < 250


def test_the_operations_are_carried_out_in_their_order(photos):
    """A whole view equals the float64 formulas applied one after the other, without rounding in between."""
    transform = TwoViewTransform(size=64, color_jitter_prob=1, solarize_prob=1, blur_prob=1, grayscale_prob=0)
    for index in range(6):
        operations = transform.operations(photos[0], 1, 0, index, 1)
        view = transform(photos[0], 1, 0, index)["view_2"]
        (_, (top, left, height, width)), *rest = operations
        x = (
            augmentation.resize(photos[0][top : top + height, left : left + width], 64, "bicubic").transpose(2, 0, 1)
            / 255
        )
        for name, value in rest:
            if name == "flip":
                x = x[:, :, ::-1]
            elif name == "brightness":
                x = x + value
            elif name == "contrast":
                mean = x.mean(axis=(1, 2), keepdims=True)
                x = value * (x - mean) + mean
            elif name == "saturation":
                x = hsv_formula(x, value, 0)
            elif name == "hue":
                x = hsv_formula(x, 1, value)
            elif name == "saturation and hue":
                x = hsv_formula(x, *value)
            elif name == "blur":
                x = np.stack([cv2.GaussianBlur(p, (7, 7), value, borderType=cv2.BORDER_CONSTANT) for p in x])
            elif name == "solarize":
                x = np.where(x < 0.5, x, 1 - x)
            x = np.clip(x, 0, 1)
        assert abs(view - x * 255).mean() < 2.5


def test_switching_an_operation_off_does_not_move_the_others(photos):
    image = photos[0]
    off = ("flip", "contrast", "blur")
    for index in range(50):
        full = TwoViewTransform(jitter="torchvision").operations(image, 1, 0, index, 1)
        transform = TwoViewTransform(jitter="torchvision", hflip=0, color_jitter=(0.4, 0, 0.2, 0.1), blur_prob=0)
        assert transform.operations(image, 1, 0, index, 1) == [drawn for drawn in full if drawn[0] not in off]


def test_views_can_have_keys_of_their_own(photos):
    transform = TwoViewTransform(scale=(0.5, 1.0, 0.05, 0.14), **{**OFF, "hflip": (0, 1)})
    first, second = (transform.operations(photos[0], 0, 0, 0, view) for view in range(2))
    assert [name for name, _ in first] == ["crop"] and [name for name, _ in second] == ["crop", "flip"]
    assert first[0][1][2] * first[0][1][3] > second[0][1][2] * second[0][1][3]


def test_grayscale_views_have_equal_planes(photos):
    views = TwoViewTransform(size=48, grayscale_prob=1, blur_prob=1, solarize_prob=1)(photos[0], 0, 0, 0)
    for view in views.values():
        assert view.std() > 10
        np.testing.assert_array_equal(view[0], view[1])
        np.testing.assert_array_equal(view[0], view[2])


def test_jitter_formulas_can_be_torchvisions(photos):
    arguments = {**OFF, "color_jitter_prob": 1, "color_jitter": (0.4, 0, 0, 0), "size": 64}
    crop = TwoViewTransform(**{**arguments, "color_jitter_prob": 0})(photos[0], 0, 0, 0)["view_1"]
    transform = TwoViewTransform(jitter="torchvision", **arguments)
    factor = dict(transform.operations(photos[0], 0, 0, 0, 0))["brightness"]
    assert 0.6 <= factor <= 1.4
    assert abs(transform(photos[0], 0, 0, 0)["view_1"] - np.clip(crop * factor, 0, 255)).max() <= 0.5


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(scale=(0.08,)), "^scale: takes 2 or, one set a view, 4 numbers, not 1"),
        (dict(scale=(0.5, 0.1)), "^scale: 0.5 is above 0.1; write the smaller number first"),
        (dict(blur_sigma=(0.1, 2, 2, 1)), "^blur_sigma: 2 is above 1; write"),
        (dict(hflip=1.5), "^hflip: 1.5 is above 1$"),
        (dict(hflip=True), "^hflip: 'True' is not a number"),
        (dict(blur_prob=(1, 0, 0)), "^blur_prob: takes 1 or, one set a view, 2 numbers, not 3"),
        (dict(color_jitter=(0.4, 0.4, 0.2, 0.7)), "^color_jitter: the hue 0.7 is above 0.5"),
        (dict(solarize_threshold=0.5), "^solarize_threshold: '0.5' is not a whole number"),
        (dict(blur_sigma=("a", 2)), "^blur_sigma: 'a' is not a number"),
        (dict(interpolation="nearest"), "^interpolation: 'nearest' is not known; choose one of bicubic, bilinear"),
        (dict(jitter="pil"), "^jitter: 'pil' is not known; choose one of deepmind, torchvision"),
    ],
)
def test_wrong_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TwoViewTransform(**arguments)


def test_unknown_names_are_named():
    with pytest.raises(TypeError, match="^blur: no key of a view; choose from scale, ratio, .*solarize_threshold$"):
        TwoViewTransform(blur=1)


def test_a_field_of_a_view_is_all_there_is_of_a_key():
    """Flags, defaults, bounds and help are those of the fields, and the defaults are the transform's."""
    args = parse_args([])
    for key, per_view in PER_VIEW.items():
        assert getattr(args, key) == per_view.default
        assert args.keys[key].type is per_view.parse and args.keys[key].help == per_view.help
        assert len(per_view.default) in (per_view.numbers, 2 * per_view.numbers)
    assert two_view_transform_from_args(args).recipes == TwoViewTransform().recipes
    first, second = TwoViewTransform().recipes
    assert first.scale == second.scale == (0.08, 1.0) and (first.blur_prob, second.blur_prob) == (1.0, 0.1)


def test_evaluation_takes_the_central_square_of_the_reference(photos):
    image = photos[0]  # 133 x 200: a square of int(0.875 * 133) = 116 at (133 - 116 + 1) // 2 and (200 - 116 + 1) // 2.
    expected = augmentation.resize(image[9:125, 42:158], 64, "bicubic").transpose(2, 0, 1)
    np.testing.assert_array_equal(EvalTransform(64)(image)["image"], expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 2), (2000, 3)])
def test_tiny_and_narrow_images_make_views(shape):
    image = np.full((*shape, 3), 77, np.uint8)
    views = TwoViewTransform(size=32)(image, 0, 0, 0)
    assert [view.shape for view in views.values()] == [(3, 32, 32)] * 2
    assert (EvalTransform(32)(image)["image"] == 77).all()
