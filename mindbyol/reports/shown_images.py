"""Images of a source as tiles of a sheet: as the network sees them, with their class or their name."""

import numpy as np

from mindbyol.data import DataError
from mindbyol.data.decode import decode
from mindbyol.reports.sheets import Tile


def tile_of(source, index, transform, background, label=None, similarity=None):
    """A tile of an image.

    Args:
        source (Source): Where it is from.
        index (int): Which image.
        transform (Callable): What the network sees of it: "image", uint8 (3, H, W); see `data.views`.
        background (tuple[int, int, int]): Of transparent images.
        label (int): The class of the query whose neighbour it is, to mark other classes; None for none.
        similarity (float): To it.
    """
    index = int(index)
    classes = source.labels is not None and np.ndim(source.labels) == 1
    caption = source.class_names[source.labels[index]] if classes else source.name(index).rpartition("/")[2]
    right = bool(source.labels[index] == label) if classes and label is not None else None
    note = "" if similarity is None else f"{similarity:.2f}"
    return Tile(image_of(source, index, transform, background), str(caption), note, right)


def image_of(source, index, transform, background, seed=0):
    """What the network sees of an image: uint8 (H, W, 3); None if it cannot be read."""
    try:
        image = decode(source[int(index)], background)
        return transform(image, seed=seed, epoch=0, index=int(index))["image"].transpose(1, 2, 0)
    except (DataError, OSError):
        return None
