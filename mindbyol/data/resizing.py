"""Resizing an image within bounds, its shape kept, as dense tasks do."""

import cv2


def scaled_size(height, width, bounds, ratio=1.0):
    """The size of an image that is resized, its shape kept.

    Args:
        height, width (int): As it is.
        bounds (tuple[int, int] or None): Most pixels of the longer and of the shorter side, times `ratio`, whole
            numbers as mmcv cuts them off; None for the size that it has.
        ratio (float): What both are multiplied by.

    Returns:
        tuple[int, int]: Height and width, rounded half up, at least 1.
    """
    factor = ratio
    if bounds is not None:
        longer, shorter = int(max(bounds) * ratio), int(min(bounds) * ratio)
        factor = min(longer / max(height, width), shorter / min(height, width))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def resize_image(image, height, width):
    """Bilinear: uint8 (H, W, 3) to (height, width, 3)."""
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
