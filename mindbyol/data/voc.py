"""PASCAL VOC as published: which images a split has, and which of the 20 classes are in each of them."""

import os
import re

import numpy as np

from mindbyol.command import quoted
from mindbyol.data.file_index import FileIndex
from mindbyol.data.listed_images import check_there, lines_of
from mindbyol.data.names import printable
from mindbyol.data.voc_annotations import objects_of

CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant "
    "sheep sofa train tvmonitor"
).split()
_YEAR = "VOC2007"
_SPLITS = ("train", "val", "trainval", "test")
_NAME = re.compile(r"[0-9A-Za-z_]+")
_FOLDERS = (("JPEGImages", "jpg"), ("Annotations", "xml"))


def index_voc(data_dir, split):
    """Reads a split of VOC 2007.

    Args:
        data_dir (Path): `VOC2007` itself, `VOCdevkit`, or the folder that holds one of them.
        split (str): train, val, trainval or test: `ImageSets/Main/<split>.txt` names its images.

    Returns:
        tuple[Path, FileIndex]: The folder that names are relative to, and the images. Labels are int8 (N, 20): 1 where
        a class is there, -1 where all that is there of it is marked as difficult, 0 where it is not there.

    Raises:
        FileNotFoundError: The folder, the split, images or annotations are not there; of files, the message has their
            number and the first ten.
        ValueError: An annotation is damaged, larger than any of VOC's, or has an unknown class.
    """
    root = _root(data_dir)
    images, annotations = files_of(root, split)
    labels = np.zeros((len(images), len(CLASSES)), np.int8)
    for row, annotation in zip(labels, annotations):
        _fill(row, root / annotation)
    return root, FileIndex.from_names(map(os.fsencode, images), labels, list(CLASSES))


def files_of(root, split):
    """The files of a split.

    Args:
        root (Path): The folder of a year, such as `VOC2007`.
        split (str): As of `index_voc`.

    Returns:
        tuple[list[str], list[str]]: Paths of the images and of their annotations, relative to `root`.

    Raises:
        FileNotFoundError, ValueError: As of `index_voc`.
    """
    listed_in = root / "ImageSets" / "Main" / f"{split}.txt"
    if not listed_in.is_file():
        there = [name for name in _SPLITS if listed_in.with_name(f"{name}.txt").is_file()]
        raise FileNotFoundError(
            f"data_dir: {listed_in} is not there; the splits that are: {', '.join(there) or 'none'}"
        )
    ids = lines_of(listed_in)
    for name in ids:
        if not _NAME.fullmatch(name):
            raise ValueError(f"data_dir: {listed_in}: {quoted(printable(name))} is no name of an image; mend the list")
    images, annotations = ([f"{folder}/{name}.{kind}" for name in ids] for folder, kind in _FOLDERS)
    check_there(root, images, listed_in)
    check_there(root, annotations, listed_in, "annotations of the images")
    return images, annotations


def _root(data_dir):
    for root in (data_dir, data_dir / _YEAR, data_dir / "VOCdevkit" / _YEAR):
        if (root / "ImageSets" / "Main").is_dir():
            return root
    raise FileNotFoundError(
        f"data_dir: neither {data_dir} nor {_YEAR} or VOCdevkit/{_YEAR} in it has a folder ImageSets/Main; name the "
        "folder where the archives of VOC 2007 were unpacked"
    )


def _fill(row, path):
    """Writes the labels of one image."""
    for name, difficult in objects_of(path):
        if name not in CLASSES:
            raise ValueError(f"data_dir: {path}: {quoted(name)} is none of VOC's 20 classes; fetch the file again")
        place = CLASSES.index(name)
        if not difficult:
            row[place] = 1
        elif row[place] == 0:
            row[place] = -1
