"""COCO as published, for detection: boxes and masks from the JSON file of a split."""

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mindbyol.command import quoted
from mindbyol.data.coco_tools import coco_tools
from mindbyol.data.file_index import FileIndex
from mindbyol.data.listed_images import check_there
from mindbyol.data.names import printable
from mindbyol.data.objects import TableBuilder


class CocoFile(NamedTuple):
    """What scoring with COCO's own tools takes.

    Attributes:
        path (Path): The JSON file.
        image_ids (numpy.ndarray): int64 (N,): its number of each image of the source.
        sizes (numpy.ndarray): int32 (N, 2): height and width of each image.
        category_ids (list[int]): Its number of each class.
    """

    path: Path
    image_ids: np.ndarray
    sizes: np.ndarray
    category_ids: list


def index_coco(data_dir, split):
    """Reads a split of COCO.

    Args:
        data_dir (Path): With `annotations/instances_<split>.json` and the images in `<split>/`.
        split (str): train2017 or val2017, or as the files are called.

    Returns:
        tuple[Path, FileIndex, ObjectTable, CocoFile]: The folder that names are relative to; the images, in the order
        of their numbers; their objects, crowds being neutral; and what scoring takes. Classes are in the order of their
        numbers. There are masks if the annotations have some.

    Raises:
        FileNotFoundError: The file, or images, are not there.
        ValueError: pycocotools is not installed, or the file is damaged: then the message has the number of the image
            or annotation.
    """
    run_lengths = coco_tools("mask")
    path = data_dir / "annotations" / f"instances_{split}.json"
    if not path.is_file():
        there = sorted(file.name for file in path.parent.glob("instances_*.json"))
        raise FileNotFoundError(f"data_dir: {path} is not there; the splits that are: {', '.join(there) or 'none'}")
    content = _read(path)
    wrong = _Wrong(path)

    categories = {_whole(one, "id", wrong, "a category"): str(one.get("name")) for one in content["categories"]}
    category_ids = sorted(categories)
    label_of = {number: label for label, number in enumerate(category_ids)}
    images, objects_of = {}, {}
    for one in content["images"]:
        number = _whole(one, "id", wrong, "an image")
        what = f"image {number}"
        height, width = (_whole(one, key, wrong, what) for key in ("height", "width"))
        name = one.get("file_name")
        if not isinstance(name, str) or "\0" in name or name.startswith("/") or ".." in name.split("/"):
            raise wrong(what, f"the file_name {quoted(printable(name))}, which is no path below {data_dir / split}")
        if number in images or height < 1 or width < 1:
            raise wrong(what, f"{width} x {height} pixels" if number not in images else "two entries")
        images[number] = (f"{split}/{name}", height, width)
        objects_of[number] = []
    for one in content["annotations"]:
        what = f"annotation {_whole(one, 'id', wrong, 'an annotation')}"
        number, category = (_whole(one, key, wrong, what) for key in ("image_id", "category_id"))
        if number not in images:
            raise wrong(what, f"the image {number}, which is not among the images")
        if category not in label_of:
            raise wrong(what, f"the category {category}, which is not among the categories")
        objects_of[number].append((what, one, label_of[category]))

    image_ids = sorted(images)
    names = [images[number][0] for number in image_ids]
    check_there(data_dir, names, path)
    with_masks = any(one.get("segmentation") for one in content["annotations"])
    table = TableBuilder(with_masks)
    for number in image_ids:
        name, height, width = images[number]
        found = objects_of[number]
        boxes = [_box(one, wrong, what) for what, one, _ in found]
        crowds = [bool(one.get("iscrowd", 0)) for _, one, _ in found]
        masks = [_mask(one, height, width, run_lengths, wrong, what) for what, one, _ in found] if with_masks else None
        table.add(name, height, width, boxes, [label for *_, label in found], crowds, masks)
    index = FileIndex.from_names(map(os.fsencode, names), None, [categories[number] for number in category_ids])
    table = table.finish(path.name)
    return data_dir, index, table, CocoFile(path, np.array(image_ids, np.int64), table.sizes, category_ids)


def _read(path):
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"data_dir: {path} is no JSON file ({error}); fetch it again") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(part), list) and all(isinstance(one, dict) for one in content[part]) for part in parts
    ):
        raise ValueError(f"data_dir: {path} has no lists of {', '.join(parts)}; is it COCO's file of instances?")
    if not content["images"] or not content["categories"]:
        raise ValueError(f"data_dir: {path} names no image, or no category; fetch it again")
    return content


class _Wrong:
    """Makes the error of an entry of a file."""

    def __init__(self, path):
        self._path = path

    def __call__(self, what, has):
        return ValueError(f"data_dir: {self._path}: {what} has {has}; mend the file")


def _whole(one, key, wrong, what):
    value = one.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise wrong(what, f"{quoted(str(value))} in the place of a whole number as its {key}")
    return value


def _box(one, wrong, what):
    box = one.get("bbox")
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(value, (int, float)) for value in box)
    if not numbers or not all(map(math.isfinite, box)):
        raise wrong(what, f"the bbox {quoted(str(box))}, which is no x, y, width and height")
    x, y, width, height = box
    return x, y, x + width, y + height


def _mask(one, height, width, run_lengths, wrong, what):
    """COCO's compressed run lengths of a mask that is given as polygons, or as run lengths of either kind."""
    given = one.get("segmentation")
    try:
        if isinstance(given, list):
            polygons = [polygon for polygon in given if len(polygon) >= 6]
            coded = run_lengths.frPyObjects(polygons, height, width)
            return (run_lengths.merge(coded) if len(coded) > 1 else coded[0])["counts"]
        if given["size"] != [height, width]:
            raise ValueError("of another size")
        counts = given["counts"]
        if isinstance(counts, str):
            return counts.encode()
        if sum(counts) != height * width or min(counts) < 0:
            raise ValueError("of another length")
        return run_lengths.frPyObjects(given, height, width)["counts"]
    except Exception as error:  # whatever a damaged one makes of pycocotools
        reason = printable(error)[:80]
        raise wrong(what, f"no segmentation of {width} x {height} pixels ({type(error).__name__}: {reason})") from error
