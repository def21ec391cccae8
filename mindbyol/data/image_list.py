"""A list of images and their labels, as a text file: `train_list.txt` of ImageNet's layout."""

import array
import os
from functools import partial
from itertools import islice

import numpy as np

from mindbyol.data.file_index import CACHE_FROM, FileIndex, cached

_LONGEST_LINE = 8192  # Bytes; twice the longest path there can be.
# A class that no image has costs a row of the probe. A few images of many classes are common, as when a list is tried
# out, so the classes may be more than the images up to those of ImageNet-21k.
_CLASSES = 22_000


def index_list(data_dir, list_file, cache_from=CACHE_FROM):
    """Reads a list of lines `relative/path label`; a long one is cached as the index of a folder is.

    Args:
        data_dir (str or Path): Folder of the list.
        list_file (str): Its name.
        cache_from (int): Number of images from which on the index is cached.

    Returns:
        FileIndex: Names as they are in the list; the class names are the numbers of the labels.

    Raises:
        ValueError: A line is not of this form, a path is absolute or leads up with `..`, there is no line, or a label
            is neither below 22,000 nor below the number of images.
    """
    path = os.path.join(data_dir, list_file)

    def read():
        labels = array.array("i")
        index = FileIndex.from_names(_names(path, labels))
        if not labels:
            raise ValueError(f"data_dir: {path} names no image; write lines of 'relative/path label'")
        largest = max(labels)
        if largest >= max(_CLASSES, len(labels)):
            where = f"data_dir: {path}:{_line_of(path, labels.index(largest))}"
            raise ValueError(
                f"{where}: the label {largest} makes {largest + 1:,} classes of {len(labels):,} images; labels are 0, "
                f"1, 2, ..., and must lie below {_CLASSES:,} or below the number of images"
            )
        index.labels = np.array(labels, np.int32)
        index.class_names = [str(label) for label in range(largest + 1)]
        return index, {str(list_file): os.stat(path).st_mtime_ns}

    return cached(data_dir, list_file, read, cache_from)


def _names(path, labels):
    """Yields the paths, and appends the labels to `labels`."""
    with open(path, "rb") as file:
        for number, line in enumerate(_lines(file), 1):
            name, _, label = line.replace(b"\t", b" ").strip().rpartition(b" ")
            if not (name and label.isdigit() and len(label) < 10 and len(line) < _LONGEST_LINE):
                if not line.strip():
                    continue
                raise ValueError(
                    f"data_dir: {path}:{number}: {_shown(line)} is not 'relative/path label'; mend the line"
                )
            # `0 in` and count: `b".." in name` takes five times as long.
            if name.startswith(b"/") or name.count(b"..") or 0 in name:
                _check_inside(name, f"data_dir: {path}:{number}: {_shown(name)}", path)
            labels.append(int(label))
            yield name.rstrip()


def _lines(file):
    return iter(partial(file.readline, _LONGEST_LINE), b"")


def _check_inside(name, where, path):
    if b"\0" in name:
        raise ValueError(f"{where} holds a NUL byte, and no file has such a name; mend the line")
    if name.startswith(b"/"):
        raise ValueError(f"{where} is absolute; write it relative to {os.path.dirname(path)}")
    if b".." in name.split(b"/"):
        raise ValueError(f"{where} leads up with '..'; move the images below the list")


def _line_of(path, image):
    """Number of the line of an image, given its place among the images."""
    with open(path, "rb") as file:
        numbers = (number for number, line in enumerate(_lines(file), 1) if line.strip())
        return next(islice(numbers, image, None))


def _shown(text):
    text = text.strip()
    shown = repr(os.fsdecode(text[:200]))
    return f"{shown}..." if len(text) > 200 else shown
