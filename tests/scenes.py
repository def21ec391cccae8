"""A few composed scenes as files, for tests of dense tasks."""

from mindbyol.data.stamps import CLASSES, find_cutouts
from mindbyol.data.stamps_layouts import write
from tests.stamps import write_cutouts

CLASS_NAMES = ["background", *CLASSES]


def write_scenes(folder, train=8, val=4, size=96, seed=0):
    """Writes scenes in the layouts of VOC, COCO and Cityscapes to the folders `VOCdevkit`, `coco` and `cityscapes`.

    Args:
        folder (Path): Is made; cut-outs are drawn beside it.
        train, val (int): How many scenes there are of each split.
        size (int): Their longer side.
        seed (int): Decides them.

    Returns:
        Path: `folder`.
    """
    cutouts = folder.parent / f"{folder.name}_cutouts"
    cutouts.mkdir()
    write_cutouts(cutouts)
    folder.mkdir()
    write(folder, find_cutouts(cutouts), {"train": train, "val": val}, size, seed)
    return folder
