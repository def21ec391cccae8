"""Decoding: every kind of image file that turns up in a folder, against Pillow, and what is no image."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from mindbyol.data import decode as module
from mindbyol.data.decode import BadImage, decode


@pytest.fixture(scope="module")
def photo(photos):
    return photos[0]


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def assert_same(result, expected, level=1.5):
    assert result.dtype == np.uint8 and result.shape == expected.shape
    assert abs(result - expected.astype(float)).mean() < level


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM"])
def test_formats(photo, kind):
    data = encoded(Image.fromarray(photo), kind, **({"quality": 95} if kind in ("JPEG", "WEBP") else {}))
    assert_same(decode(data), photo, 4 if kind in ("JPEG", "WEBP") else 1e-9)


def test_pixels_pass_through(photo):
    assert decode(photo) is photo


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_gray_images_get_three_equal_channels(photo, kind):
    gray = Image.fromarray(photo).convert("L")
    result = decode(encoded(gray, kind, quality=95))
    assert_same(result, np.array(gray.convert("RGB")), 2)
    assert (result == result[..., :1]).all()


def test_alpha_lays_the_colour_on_the_background():
    # 255, 128, 51 and 0 of 255: 10 opaque; (10 * 128 + 200 * 127) / 255 = 104.6; (10 * 51 + 200 * 204) / 255 = 162.
    pixels = np.array([[[10, 10, 10, alpha] for alpha in (255, 128, 51, 0)]], np.uint8)
    data = encoded(Image.fromarray(pixels), "PNG")
    assert decode(data, (200, 0, 255))[0].tolist() == [[10, 10, 10], [105, 5, 132], [162, 2, 206], [200, 0, 255]]
    assert decode(data)[0, :, 0].tolist() == [10, 132, 206, 255]  # white, where nothing else is said


@pytest.fixture(scope="module")
def translucent(photo):
    """The photograph with a hole, and around that every alpha that there is."""
    alpha = np.linspace(0, 255, photo[..., 0].size).reshape(photo.shape[:2])
    alpha[40:60, 30:90] = 0
    return np.dstack([photo, alpha.astype(np.uint8)])


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 40, 200)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG2000", "PNG, gray", "PNG, 16 bits"])
def test_transparent_images(translucent, kind, background):
    if kind == "PNG, gray":
        translucent = translucent[..., [0, 0, 0, 3]]
        data = encoded(Image.fromarray(np.ascontiguousarray(translucent[..., 2:])), "PNG")
    elif kind == "PNG, 16 bits":
        data = cv2.imencode(".png", translucent[..., [2, 1, 0, 3]].astype(np.uint16) * 257)[1].tobytes()
    else:
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        data = encoded(Image.fromarray(translucent), kind, **options)
    share = translucent[..., 3:] / 255.0
    expected = np.floor(share * translucent[..., :3] + (1 - share) * np.array(background) + 0.5)
    np.testing.assert_array_equal(decode(data, background), expected)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette(photo, kind):
    palette = Image.fromarray(photo).quantize(64)
    seen = np.array(palette) != 7
    result = decode(encoded(palette, kind, transparency=7), (1, 2, 3))
    expected = np.where(seen[..., None], np.array(palette.convert("RGB")), (1, 2, 3))
    assert 0 < seen.mean() < 1 and np.array_equal(result, expected)


def test_a_transparent_colour_without_palette(photo):
    photo = photo.copy()
    photo[:50, :, 0] = 9
    gray = Image.fromarray(np.ascontiguousarray(photo[..., 0]))
    result = decode(encoded(gray, "PNG", transparency=9))
    np.testing.assert_array_equal(result, np.repeat(np.where(photo[..., :1] == 9, 255, photo[..., :1]), 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_opaque_is_decoded_as_without_alpha(photo, kind):
    opaque = Image.fromarray(np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)]))
    data = encoded(opaque, kind)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(decode(data, (0, 0, 0)), expected)


def test_a_transparent_image_is_turned_as_its_exif_data_say(translucent):
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, turned = (encoded(Image.fromarray(translucent), "PNG", **more) for more in ({}, {"exif": exif}))
    np.testing.assert_array_equal(decode(turned), np.rot90(decode(plain), -1))


def test_a_transparent_image_that_was_cut_off_is_bad(translucent):
    data = encoded(Image.fromarray(translucent), "PNG")
    with pytest.raises(BadImage):
        decode(data[: len(data) // 2])


def test_a_png_without_alpha_and_jpegs_are_not_opened_with_pillow(photo, monkeypatch):
    monkeypatch.setattr(module.Image, "open", None)
    for kind in ("PNG", "JPEG"):
        assert decode(encoded(Image.fromarray(photo), kind)).shape == photo.shape


def test_a_png_of_endless_chunks_is_looked_at_only_so_far():
    start = encoded(Image.new("RGB", (8, 8)), "PNG")[:33]
    assert module._png_may_be_transparent(start + bytes(12) * 10_000) and not module._png_may_be_transparent(start)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palettes(photo, kind):
    palette = Image.fromarray(photo).quantize(64)
    assert_same(decode(encoded(palette, kind)), np.array(palette.convert("RGB")), 1e-9)


def test_cmyk_jpegs(photo):
    cmyk = Image.fromarray(photo).convert("CMYK")
    assert_same(decode(encoded(cmyk, "JPEG", quality=95)), photo, 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_images(photo, channels):
    # Pillow cannot write 16-bit RGB.
    wide = (photo[..., ::-1] if channels == 3 else photo[..., 0]).astype(np.uint16) * 257
    data = cv2.imencode(".png", wide)[1].tobytes()
    assert_same(decode(data), photo if channels == 3 else np.repeat(photo[..., :1], 3, axis=2), 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(photo, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {
        1: photo,
        2: photo[:, ::-1],
        3: photo[::-1, ::-1],
        4: photo[::-1],
        5: photo.transpose(1, 0, 2),
        6: np.rot90(photo, -1),
        7: photo[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(photo),
    }
    assert_same(decode(encoded(Image.fromarray(photo), "JPEG", quality=95, exif=exif)), turned[orientation], 4)


def test_a_single_pixel():
    data = encoded(Image.fromarray(np.full((1, 1, 3), 200, np.uint8)), "PNG")
    assert decode(data).tolist() == [[[200, 200, 200]]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_files_that_were_cut_off_are_bad(photo, kind, share):
    data = encoded(Image.fromarray(photo), kind)
    with pytest.raises(BadImage):
        decode(data[: int(len(data) * share)])


def test_a_cut_off_jpeg_with_a_whole_thumbnail_is_bad(photo):
    thumbnail = encoded(Image.fromarray(photo[::2, ::2]), "JPEG")
    whole = encoded(Image.fromarray(photo), "JPEG", quality=95, exif=b"Exif\0\0" + thumbnail)
    assert_same(decode(whole), photo, 4)
    with pytest.raises(BadImage, match="cut off"):
        decode(whole[: len(whole) * 3 // 4])


@pytest.fixture(scope="module")
def bomb():
    """A black image of 25,000 x 25,000 pixels, one bit each."""
    return Image.new("1", (25_000, 25_000))


def claims(width, height, between):
    """A small JPEG whose header claims another size, with some bytes in front of a marker."""
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data[:frame] + between + data[frame:])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "JPEG with a stray byte"])
def test_too_many_pixels_are_not_decoded(bomb, kind, monkeypatch):
    monkeypatch.setattr(module.cv2, "imdecode", None)
    size = "25000 x 25000 are "
    if kind.startswith("JPEG"):
        data, size = (
            (claims(25_000, 25_000, b"\xff\xff"), size) if kind == "JPEG" else (claims(25_000, 25_000, b"\0"), "")
        )
    else:
        data = encoded(bomb, kind, **({"compression": "group4"} if kind == "TIFF" else {}))
        size = "" if kind == "TIFF" else size  # Pillow does not tell.
    assert len(data) < 200_000
    with pytest.raises(BadImage, match=f"^{size}more than 178,956,970 pixels; make the image smaller"):
        decode(data)


def test_a_size_is_read_from_every_kind_of_jpeg(photo):
    exif = b"Exif\0\0" + encoded(Image.fromarray(photo[::2, ::2]), "JPEG")
    for options in ({}, {"progressive": True}, {"exif": exif}, {"comment": b"x" * 60_000}):
        assert module._jpeg_size(encoded(Image.fromarray(photo), "JPEG", **options)) == (200, 133)
    assert module._jpeg_size(b"\xff\xd8" + b"\xff\xe0\0\0" * 9999) is None


def test_messages_name_no_objects_in_memory():
    with pytest.raises(BadImage) as error:
        decode(b"no image at all")
    assert str(error.value) == "not an image that OpenCV or Pillow can decode"


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_bad(data):
    with pytest.raises(BadImage):
        decode(data)
