"""What images there are. A source has a length, an image and a name for each index, and labels or None.

`source[i]` is the image as it is stored: the bytes of a file, or uint8 RGB pixels; `decode.decode` takes both. Sources
hold no order and no randomness. They can be pickled, and are then small.

`source.labels` is None or an array of any shape (N, ...) and dtype: int32 (N,), one class an image; or, say, int8
(N, 20), of several classes which are there (1), are not (0), or do not count (-1).

A source may also have `source.target(i)`: what has to be transformed together with the image, such as a mask, or boxes
with their classes. It reads and decodes, and raises OSError or `decode.BadImage` as reading an image does: then the
image counts as unreadable, too. What a target looks like is a matter between a source and the transforms that take
targets; others are not given them. A source without targets has no such attribute.

And it may have `source.groups`, an array (N,): only images of one group share a batch of training, such as those that
fit the same canvas, and an unreadable one is replaced by one of its group.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from mindbyol.data.binary_files import BinaryFiles, Digits
from mindbyol.data.coco import index_coco
from mindbyol.data.file_index import index_images
from mindbyol.data.idx_files import IdxFiles
from mindbyol.data.image_files import ImageFiles, MaskFiles, ObjectFiles, Subset
from mindbyol.data.image_list import index_list
from mindbyol.data.linear_sets import LINEAR_SETS, index_linear_set
from mindbyol.data.listed_images import check_there, missing
from mindbyol.data.masks import MASK_SETS
from mindbyol.data.mindrecord import MindRecordFiles
from mindbyol.data.names import printable
from mindbyol.data.transfer_sets import TRANSFER_SETS, index_transfer_set
from mindbyol.data.voc import index_voc
from mindbyol.data.voc_detection import index_voc_detection

DATASETS = (
    "imagenet",
    "folder",
    "cifar10",
    "cifar100",
    "stl10",
    "mnist",
    "digits",
    "mindrecord",
    "voc",
    "voc_detection",
    "coco",
    *TRANSFER_SETS,
    *LINEAR_SETS,
    *MASK_SETS,
)


def create_source(dataset, data_dir=None, split="train", download=False, num_samples=None):
    """Opens a data set.

    Args:
        dataset (str): One of
            "imagenet": one folder of images a class under `data_dir/split`; or `data_dir/<split>_list.txt` with lines
            `relative/path label`, the paths below `data_dir` or `data_dir/split`;
            "folder": images without labels at any depth under `data_dir/split`, or under `data_dir` itself when the
            split is "train" and there is no such sub-folder, or is ".";
            "cifar10", "cifar100", "stl10": their published binary files; "mnist": IDX files as MNIST and Fashion-MNIST
            are published; "digits": scikit-learn's;
            "mindrecord": what scripts/make_mindrecord.py wrote;
            "voc": VOC 2007 as published, several classes an image;
            "voc_detection", "coco": as published, with boxes; see `ObjectFiles`;
            "food101", "sun397", "cars", "aircraft", "dtd", "pets", "caltech101", "flowers102": as published; see
            `transfer_sets`;
            "places205", "inaturalist2018": as published; see `linear_sets`;
            "voc12_segmentation", "cityscapes": as published, with masks; see `masks`.
        data_dir (str): Folder of the data set; "digits" needs none.
        split (str): Which part of the data set.
        download (bool): Fetch CIFAR and STL10 when they are not there.
        num_samples (int): Take only so many images, evenly spaced over the data set.

    Returns:
        Source: With `len(source)`, `source[i]`, `source.name(i)`, `source.labels` (array or None),
        `source.class_names` (list[str] or None) and `source.description`.

    Raises:
        FileNotFoundError: The folder, the split or the files are not there.
        ValueError: The data set is unknown, empty or damaged.
    """
    if dataset not in DATASETS:
        raise ValueError(f"dataset: {dataset!r} is not known; choose one of {', '.join(DATASETS)}")
    whole = dataset == "folder" and split == "."
    if not whole and (os.path.isabs(split) or os.path.normpath(split).split(os.sep)[0] in (".", "..")):
        raise ValueError(f"split '{split}' is data_dir itself, or not in it: name a part of the data set")
    if dataset == "digits":
        source = Digits(split)
    else:
        if not data_dir:
            raise ValueError(f"data_dir: is empty; name the folder that holds {dataset}")
        if not os.path.isdir(data_dir) and not download:
            held = "the images" if dataset == "folder" else dataset
            where = "" if os.path.isabs(data_dir) else f", seen from {os.getcwd()}"
            raise FileNotFoundError(f"data_dir: {data_dir} is not a folder{where}; name the one that holds {held}")
        if dataset == "imagenet":
            source = _open_imagenet(Path(data_dir), split)
        elif dataset == "folder":
            source = _open_folder(Path(data_dir), split)
        elif dataset == "mindrecord":
            source = MindRecordFiles(data_dir, split)
        elif dataset == "mnist":
            source = IdxFiles(data_dir, split)
        elif dataset == "voc":
            source = ImageFiles(*index_voc(Path(data_dir), split), f"VOC 2007 {split}")
        elif dataset == "voc_detection":
            source = ObjectFiles(*index_voc_detection(Path(data_dir), split), f"VOC {split}")
        elif dataset == "coco":
            root, index, table, coco = index_coco(Path(data_dir), split)
            source = ObjectFiles(root, index, table, f"COCO {split}", coco)
        elif dataset in TRANSFER_SETS:
            source = ImageFiles(*index_transfer_set(dataset, Path(data_dir), split), f"{dataset} {split}")
        elif dataset in LINEAR_SETS:
            source = ImageFiles(*index_linear_set(dataset, Path(data_dir), split), f"{dataset} {split}")
        elif dataset in MASK_SETS:
            source = MaskFiles(*MASK_SETS[dataset](Path(data_dir), split), f"{dataset} {split}")
        else:
            source = BinaryFiles(dataset, data_dir, split, download)
    if num_samples is not None:
        source = evenly_spaced(source, num_samples)
    return source


def fingerprint(source, sample=1000):
    """What tells a data set from another one with as many images.

    Args:
        source (Source): The images.
        sample (int): Most images that are looked at, evenly spaced; of files, only the size is.

    Returns:
        dict[str, str]: Digests of the `names` (of all files, or of the sample), the `contents` (sizes of files, or the
        bytes of what is stored otherwise) and the `labels` of all.
    """
    names, contents = hashlib.sha256(), hashlib.sha256()
    chosen = np.arange(min(len(source), sample)) * len(source) // min(len(source), sample)
    for index in range(len(source)) if are_files(source) else chosen.tolist():
        names.update(source.name(index).encode() + b"\n")
    for index in chosen.tolist():
        path = _path(source, index)
        if path is None:
            contents.update(source[index])
        else:
            contents.update(b"%d\n" % (os.path.getsize(path) if os.path.exists(path) else -1))
    labels = hashlib.sha256(b"" if source.labels is None else np.ascontiguousarray(source.labels))
    return {"names": names.hexdigest(), "contents": contents.hexdigest(), "labels": labels.hexdigest()}


def are_files(source):
    """Whether each image of a source is a file of its own."""
    return _path(source, 0) is not None


def _path(source, index):
    """Path of the file of an image; None where images are not files."""
    if isinstance(source, Subset):
        return _path(source._source, int(source._indices[index]))
    return source.path(index) if isinstance(source, ImageFiles) else None


def evenly_spaced(source, count):
    """Takes `count` images, evenly spaced over a source: of sorted classes, about the same share of each."""
    if not 0 < count <= len(source):
        raise ValueError(f"num_samples: {count} is not within 1..{len(source)} ({source.description}); lower it")
    return Subset(source, np.arange(count, dtype=np.int64) * len(source) // count)


def _open_imagenet(data_dir, split):
    list_file = data_dir / f"{split}_list.txt"
    if list_file.is_file():
        return _open_list(data_dir, split, list_file)
    root = data_dir / split
    if not root.is_dir():
        raise FileNotFoundError(f"data_dir: neither {root} nor {list_file} is there; {_what_is_there(data_dir)}")
    index = index_images(root, with_classes=True)
    if not len(index):
        raise ValueError(
            f"data_dir: {root} holds no folders with images, one a class; without classes set dataset: folder"
        )
    return ImageFiles(root, index, f"imagenet {split}")


def _open_list(data_dir, split, list_file):
    index = index_list(data_dir, list_file.name)
    names = [index[number] for number in range(len(index))]
    roots = data_dir, data_dir / split
    root = next((root for root in roots if (root / names[0]).is_file()), None)
    if root is None:  # damaged, or of another folder: the one that has more of the images is meant
        root = min(roots, key=lambda root: len(missing(root, names)))
    check_there(root, names, list_file)
    if not (root / names[0]).is_file():
        raise FileNotFoundError(
            f"data_dir: {printable(names[0])}, the first image of {list_file}, is no file in {data_dir} or "
            f"{data_dir / split}; mend the list, or put the images there"
        )
    return ImageFiles(root, index, f"imagenet {split} ({list_file.name})")


def _open_folder(data_dir, split):
    root = data_dir / split
    if not root.is_dir():
        if split != "train":
            raise FileNotFoundError(f"data_dir: {root} is not there; {_what_is_there(data_dir)}")
        root = data_dir
    index = index_images(root, with_classes=False)
    if not len(index):
        raise ValueError(f"data_dir: {root} holds no image file at any depth; name the folder that holds the images")
    return ImageFiles(root, index, f"folder {printable(root.name)}")


def _what_is_there(data_dir):
    folders = sorted(entry.name for entry in data_dir.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    lists = sorted(file.name for file in data_dir.glob("*_list.txt"))
    there = ", ".join(map(printable, (folders + lists)[:10]))
    return f"{data_dir} holds {there}" if there else f"{data_dir} holds no folders"
