"""The colours of VOC's masks."""

import numpy as np


def palette():
    """VOC's colours: bits 0, 3, 6 of a number are the highest bits of red, 1, 4, 7 of green, 2, 5 of blue.

    Returns:
        ndarray: uint8 (256, 3); 0 is black, 255 nearly white.
    """
    numbers = np.arange(256)
    bits = (numbers[:, None] >> np.arange(8)) & 1
    colours = np.zeros((256, 3), int)
    for bit in range(8):
        colours[:, bit % 3] |= bits[:, bit] << (7 - bit // 3)
    return colours.astype(np.uint8)
