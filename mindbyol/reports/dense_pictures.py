"""What pictures of dense tasks have in common: parts side by side, and files named after images."""

from pathlib import Path

import numpy as np
from PIL import Image

from mindbyol.files import replacing

_GAP = 4  # pixels between the parts


def side_by_side(*parts):
    """Pictures (ndarrays, uint8 (H, W, 3), of one height) beside each other, white between them."""
    gap = np.full((len(parts[0]), _GAP, 3), 255, np.uint8)
    between = [gap] * (len(parts) - 1)
    return np.hstack([parts[0], *(one for pair in zip(between, parts[1:]) for one in pair)])


def save(folder, name, picture):
    """Writes a picture as PNG, named after its image.

    Args:
        folder (Path): Made if it is not there.
        name (str): Of the image.
        picture (ndarray): uint8 (H, W, 3).

    Raises:
        OSError: It cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{Path(name).stem}.png") as beside:
        Image.fromarray(picture).save(beside)
