import numpy as np
import pytest

from mindbyol.data.warp import WarpTransform


def bilinear(image, height, width):
    """In float64, pixels being squares, and the edge going on beyond them; rounded to uint8."""

    def along(array, size):
        place = np.clip((np.arange(size) + 0.5) * len(array) / size - 0.5, 0, len(array) - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, len(array) - 1)
        share = (place - low).reshape(-1, 1, 1)
        return array[low] * (1 - share) + array[high] * share

    rows = along(image.astype(np.float64), height)
    return np.rint(along(rows.transpose(1, 0, 2), width).transpose(1, 0, 2))


@pytest.mark.parametrize("upright", [False, True])
def test_the_short_side_is_resized_and_the_whole_image_warped(photos, upright):
    photo = photos[0].transpose(1, 0, 2) if upright else photos[0]  # 133 x 200
    between = (96, 64) if upright else (64, 96)  # 64 * 200 / 133 = 96.2, rounded down
    expected = bilinear(bilinear(photo, *between), 56, 56)
    found = WarpTransform(56, 64)(np.ascontiguousarray(photo))["image"]
    assert found.shape == (3, 56, 56) and found.dtype == np.uint8
    assert np.abs(found.transpose(1, 2, 0) - expected).max() <= 2


def test_a_strip_takes_no_gigabytes_on_the_way():
    strip = np.full((1, 30_000, 3), 7, np.uint8)  # 256 times as large it would have 2 billion pixels
    np.testing.assert_array_equal(WarpTransform(8, 256)(strip)["image"], np.full((3, 8, 8), 7))
