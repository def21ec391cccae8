"""PASCAL VOC 2007 and 2012 as published, for detection: the boxes of each image, of one year or of several together."""

import os
import re

from mindbyol.command import quoted
from mindbyol.data.class_files import NAME as CLASSES_FILE
from mindbyol.data.class_files import class_names
from mindbyol.data.file_index import FileIndex
from mindbyol.data.objects import TableBuilder
from mindbyol.data.voc import CLASSES, files_of
from mindbyol.data.voc_annotations import boxes_of

_PART = re.compile(r"(20\d\d)_(train|val|trainval|test)")


def index_voc_detection(data_dir, split):
    """Reads splits of VOC for detection.

    The corners in the files count from 1; here 1 is subtracted from all four, and a width is x2 - x1, as MMDetection
    has it: a box ends one pixel earlier than its last pixel does.

    Args:
        data_dir (Path): The folder that holds `VOC2007`, `VOC2012` or both, which may be in `VOCdevkit`.
        split (str): YEAR_SPLIT, such as 2007_test; several joined by +, such as 2007_trainval+2012_trainval.

    Returns:
        tuple[Path, FileIndex, ObjectTable]: The folder that names are relative to, the images, and their objects, of
        which difficult ones are neutral.

    Raises:
        FileNotFoundError: As of `voc.index_voc`.
        ValueError: The split is none; an annotation is damaged, or has an unknown class or a box that is none; or the
            years have different classes.
    """
    parts = [_PART.fullmatch(part) for part in split.split("+")]
    if not all(parts):
        raise ValueError(
            f"split {quoted(split)} is none of VOC's: write YEAR_SPLIT, such as 2007_test, or several joined by +, as "
            "2007_trainval+2012_trainval are"
        )
    root = data_dir if not (data_dir / "VOCdevkit").is_dir() else data_dir / "VOCdevkit"
    images, known, table = [], None, TableBuilder()
    for year, name in (part.groups() for part in parts):
        folder = root / f"VOC{year}"
        if not (folder / "ImageSets" / "Main").is_dir():
            raise FileNotFoundError(
                f"data_dir: neither {data_dir} nor VOCdevkit in it holds VOC{year} with a folder ImageSets/Main; name "
                "the folder where the archives of VOC were unpacked"
            )
        classes = class_names(folder, CLASSES)
        if known not in (None, classes):
            raise ValueError(f"data_dir: the classes of {folder} are others than those of the split before it")
        known = classes
        for image, annotation in zip(*files_of(folder, name)):
            images.append(f"VOC{year}/{image}")
            _add(table, folder / annotation, classes)
    index = FileIndex.from_names(map(os.fsencode, images), None, known)
    return root, index, table.finish(f"VOC {split}")


def _add(table, path, classes):
    height, width, objects = boxes_of(path)
    for name, _, _ in objects:
        if name not in classes:
            raise ValueError(
                f"data_dir: {path}: {quoted(name)} is none of the {len(classes)} classes; fetch the file again, or "
                f"write a {CLASSES_FILE} in {path.parents[1]}"
            )
    boxes = [[corner - 1 for corner in box] for _, _, box in objects]
    labels = [classes.index(name) for name, _, _ in objects]
    table.add(path.name, height, width, boxes, labels, [difficult for _, difficult, _ in objects])
