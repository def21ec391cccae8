"""From what a source holds to pixels: uint8 RGB images of shape (height, width, 3)."""

import io
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mindbyol.data.names import printable

cv2.setNumThreads(0)  # The loader's workers are the parallelism.

MAX_PIXELS = 178_956_970  # Of an image; the number above which Pillow refuses, too. Decoded, 537 MB.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # Pillow's, from half of that on.

WHITE = (255, 255, 255)

_READ_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # OpenCV 4.11 and newer.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # Markers of the segment that holds the size.


class DataError(RuntimeError):
    """The data stop a run; the message says why and what to do."""


class BadImage(DataError):
    """An image that cannot be read or decoded."""


def decode(item, background=WHITE):
    """Decodes an image file; an array passes through.

    Gray, palette, CMYK and 16-bit images become 8-bit RGB, and the orientation in the EXIF data is applied. What is
    transparent is laid on a background. Of an animation the first picture is taken.

    Args:
        item (bytes or numpy.ndarray): A whole image file, or uint8 RGB pixels, shape (height, width, 3).
        background (tuple[int, int, int]): RGB, 0 to 255, seen through transparent pixels.

    Returns:
        numpy.ndarray: uint8, shape (height, width, 3), RGB.

    Raises:
        BadImage: The bytes are not an image, a JPEG that was cut off, or an image of more than `MAX_PIXELS`.
    """
    if isinstance(item, np.ndarray):
        return item
    if not item:
        raise BadImage("the file is empty")
    # libjpeg fills what is missing with gray instead of failing. The end of an embedded thumbnail does not count.
    if item[:2] == b"\xff\xd8" and item.rfind(b"\xff\xd9", len(item) // 2) < 0:
        raise BadImage("the JPEG file is cut off")
    width, height, may_be_transparent = _header(item)
    if width * height > MAX_PIXELS:
        raise BadImage(f"{width} x {height} are more than {MAX_PIXELS:,} pixels; make the image smaller")
    if may_be_transparent:
        image = _composited(item, background)
        if image is not None:
            return image
    encoded = np.frombuffer(item, np.uint8)
    try:
        if _READ_RGB is not None:
            image = cv2.imdecode(encoded, _READ_RGB)
        else:
            image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
            image = None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except cv2.error as error:
        raise BadImage(f"OpenCV cannot decode it: {error.err}") from error
    return _decode_with_pillow(item) if image is None else image


def _header(data):
    """Width and height as the header states them, (0, 0) if none is understood; and whether there may be an alpha."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        return *size, _png_may_be_transparent(data)
    if data[:2] == b"\xff\xd8":
        size = _jpeg_size(data)
        if size is not None:
            return *size, False
    try:
        with Image.open(io.BytesIO(data)) as image:
            return *image.size, "A" in image.mode or "a" in image.mode or "transparency" in image.info
    except Image.DecompressionBombError as error:
        raise BadImage(f"more than {MAX_PIXELS:,} pixels; make the image smaller") from error
    except Exception:  # Pillow's parsers again; decoding will tell what is wrong.
        return 0, 0, False


def _png_may_be_transparent(data):
    """Whether a PNG has an alpha channel, or a chunk that makes some of its colours transparent."""
    if len(data) > 25 and data[25] & 4:  # type of the colours: 4 and 6 are those with alpha
        return True
    place = 33  # behind the header
    for _ in range(1000):  # chunks in front of the pixels; files have some ten
        kind = data[place + 4 : place + 8]
        if kind in (b"tRNS", b"IDAT", b""):
            return kind == b"tRNS"
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return True


def _composited(data, background):
    """What is transparent, laid on a background: alpha times its colour and the rest of the background's, rounded.

    Returns:
        numpy.ndarray: As of `decode`; None if every pixel is opaque, or Pillow cannot decode it. Such an image is
        decoded as one without alpha, where its faults are named.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image = ImageOps.exif_transpose(image).convert("RGBA")
            if image.getchannel("A").getextrema()[0] == 255:
                return None
            below = Image.new("RGB", image.size, background)
            below.paste(image, mask=image)
            return np.array(below)
    except Exception:  # whatever a damaged file makes Pillow's parsers raise
        return None


def _jpeg_size(data):
    """Width and height from the frame segment: 5 us, where opening the file with Pillow takes 70."""
    place = 2
    for _ in range(1000):  # Segments; files have some ten.
        if data[place : place + 1] != b"\xff" or len(data) < place + 9:
            return None
        marker = data[place + 1]
        if marker in _JPEG_FRAMES:
            return int.from_bytes(data[place + 7 : place + 9], "big"), int.from_bytes(
                data[place + 5 : place + 7], "big"
            )
        # Any number of 0xff may stand in front of a marker.
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def _decode_with_pillow(data):
    """For the formats that OpenCV's wheels lack, such as GIF."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except UnidentifiedImageError as error:  # Its words name an object in memory.
        raise BadImage("not an image that OpenCV or Pillow can decode") from error
    except Exception as error:  # Pillow raises whatever a damaged file makes its parsers raise.
        raise BadImage(f"not an image that OpenCV or Pillow can decode ({printable(error)})") from error
