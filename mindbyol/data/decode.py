"""From what a source holds to pixels: uint8 RGB images of shape (height, width, 3)."""

import io

import cv2
import numpy as np
from PIL import Image, ImageOps

cv2.setNumThreads(0)  # The loader's workers are the parallelism.

_READ_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # OpenCV 4.11 and newer.


class DataError(RuntimeError):
    """The data stop a run; the message says why and what to do."""


class BadImage(DataError):
    """An image that cannot be read or decoded."""


def decode(item):
    """Decodes an image file; an array passes through.

    Gray, palette, transparent (the alpha channel is dropped), CMYK and 16-bit images become 8-bit RGB, and the
    orientation in the EXIF data is applied.

    Args:
        item (bytes or numpy.ndarray): A whole image file, or uint8 RGB pixels, shape (height, width, 3).

    Returns:
        numpy.ndarray: uint8, shape (height, width, 3), RGB.

    Raises:
        BadImage: The bytes are not an image, or a JPEG that was cut off.
    """
    if isinstance(item, np.ndarray):
        return item
    if not item:
        raise BadImage("the file is empty")
    # libjpeg fills what is missing with gray instead of failing. The end of an embedded thumbnail does not count.
    if item[:2] == b"\xff\xd8" and item.rfind(b"\xff\xd9", len(item) // 2) < 0:
        raise BadImage("the JPEG file is cut off")
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


def _decode_with_pillow(data):
    """For the formats that OpenCV's wheels lack, such as GIF."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # Pillow raises whatever a damaged file makes its parsers raise.
        raise BadImage(f"not an image that OpenCV or Pillow can decode ({error})") from error
