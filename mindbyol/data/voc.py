"""PASCAL VOC as published: which images a split has, and which of the 20 classes are in each of them."""

import os
import re
from xml.parsers import expat

import numpy as np

from mindbyol.command import quoted
from mindbyol.data.file_index import FileIndex
from mindbyol.data.listed_images import check_there, lines_of
from mindbyol.data.names import printable

CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant "
    "sheep sofa train tvmonitor"
).split()
_YEAR = "VOC2007"
_SPLITS = ("train", "val", "trainval", "test")
_MAX_BYTES = 2**20  # of an annotation; those of VOC have some hundred lines
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
    labels = np.zeros((len(ids), len(CLASSES)), np.int8)
    for row, annotation in zip(labels, annotations):
        _fill(row, root / annotation)
    return root, FileIndex.from_names(map(os.fsencode, images), labels, list(CLASSES))


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


def objects_of(path):
    """The objects of an annotation.

    Args:
        path (Path): XML as VOC has it. A document type, and with it entities that grow when they are read, is
            refused: no annotation of VOC has one.

    Returns:
        list[tuple[str, bool]]: Class and whether it is marked as difficult, of each object.

    Raises:
        ValueError: It is something else, in one line.
    """
    if not path.is_file():
        raise ValueError(f"data_dir: {path} is no regular file; put the annotation there")
    with open(path, "rb") as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise ValueError(f"data_dir: {path} has more than {_MAX_BYTES:,} bytes, so it is no annotation of VOC")
    reader = _Reader()
    try:
        reader.parse(text)
    except (expat.ExpatError, ValueError) as error:
        raise ValueError(f"data_dir: {path} is no annotation of VOC ({error}); fetch it again") from error
    found = [(one.get("name", "").strip(), one.get("difficult", "0").strip()) for one in reader.objects]
    for name, difficult in found:
        if not name or difficult not in ("0", "1"):
            raise ValueError(
                f"data_dir: {path} is no annotation of VOC (an object with the name {quoted(name)}, difficult "
                f"{quoted(difficult)}); fetch it again"
            )
    return [(name, difficult == "1") for name, difficult in found]


class _Reader:
    """The texts of `annotation/object/name` and `annotation/object/difficult`; parts of objects have names, too."""

    def __init__(self):
        self.objects = []
        self._path = []

    def parse(self, text):
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda _: self._path.pop()
        parser.CharacterDataHandler = self._take
        parser.Parse(text, True)

    def _start(self, name, _):
        if not self._path and name != "annotation":
            raise ValueError(f"its outermost element is {quoted(name)}")
        self._path.append(name)
        if self._path == ["annotation", "object"]:
            self.objects.append({})

    def _take(self, text):
        if len(self._path) == 3 and self._path[:2] == ["annotation", "object"]:
            one = self.objects[-1]
            one[self._path[2]] = one.get(self._path[2], "") + text


def _refuse(*_):
    raise ValueError("it declares a document type")
