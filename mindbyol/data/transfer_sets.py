"""The labelled data sets of the BYOL paper's transfer experiments (appendix D.1), in their published layouts.

A split is called as its list is. SUN397 and DTD have ten splits into training and test images; the paper takes the
first: train1, test1. Caltech101 has none, so they are drawn here, 30 images of each class for training, as many draws
as one likes: train1 and test1 belong together. Its background folder is one of the 102 classes: 102 x 30 are the 3,060
training images of the paper's table 10, and what remains are its 6,084 test images.
"""

import logging
import os
import re
from pathlib import Path
from typing import Callable, NamedTuple

from mindbyol.data.keyed_random import permutation
from mindbyol.data.listed_images import index_listed, lines_of
from mindbyol.data.mat_files import read_mat
from mindbyol.data.names import printable

logger = logging.getLogger(__name__)


class _Listed(NamedTuple):
    """What a reader finds: names of images, their labels from 0, names of the classes, and the file that lists them."""

    names: list
    labels: list
    class_names: list
    listed_in: Path


def _food101(root, split):
    classes = lines_of(root / "meta/classes.txt")
    file = root / f"meta/{split}.txt"
    entries = lines_of(file)  # apple_pie/1005649
    return _by_folder(file, [f"images/{entry}.jpg" for entry in entries], [_folder(e) for e in entries], classes)


def _sun397(root, split):
    kind, number = _numbered(split)
    folders = (root / "Partitions", root.parent / "Partitions", root)
    lists = next((folder for folder in folders if (folder / "ClassName.txt").is_file()), root)
    file = lists / f"{'Training' if kind == 'train' else 'Testing'}_{number:02d}.txt"
    entries = lines_of(file)  # /a/abbey/sun_aaalbzqrimafwbiv.jpg
    classes = [name.strip("/") for name in lines_of(lists / "ClassName.txt")]
    names = [entry.lstrip("/") for entry in entries]
    return _by_folder(file, names, [_folder(name) for name in names], classes)


def _cars(root, split):
    file = root / "devkit/cars_train_annos.mat"
    if split == "test":
        file = root / "cars_test_annos_withlabels.mat"
        file = file if file.is_file() else root / "devkit" / file.name
    notes = read_mat(file, "annotations", ("fname", "class"))
    classes = [str(name) for name in read_mat(root / "devkit/cars_meta.mat", "class_names")]
    names = [f"cars_{split}/{name}" for name in notes["fname"]]
    return _Listed(names, [int(label) - 1 for label in notes["class"]], classes, file)


def _aircraft(root, split):
    classes = lines_of(root / "data/variants.txt")
    file = root / f"data/images_variant_{split}.txt"
    pairs = [entry.partition(" ")[::2] for entry in lines_of(file)]  # 1025794 707-320
    return _by_folder(file, [f"data/images/{image}.jpg" for image, _ in pairs], [name for _, name in pairs], classes)


def _dtd(root, split):
    file = root / f"labels/{split}.txt"
    entries = lines_of(file)  # banded/banded_0002.jpg
    classes = _sub_folders(root / "images")
    return _by_folder(file, [f"images/{entry}" for entry in entries], [_folder(entry) for entry in entries], classes)


def _pets(root, split):
    file = root / f"annotations/{split}.txt"
    names, labels, classes = [], [], {}
    for number, line in enumerate(lines_of(file), 1):  # Abyssinian_100 1 1 1: name, class, species, breed
        fields = line.split()
        if len(fields) != 4 or not fields[1].isdigit():
            raise ValueError(f"data_dir: {file}:{number}: {printable(line)[:80]!r} is not 'name class species breed'")
        names.append(f"images/{fields[0]}.jpg")
        labels.append(int(fields[1]) - 1)
        classes[labels[-1]] = fields[0].rpartition("_")[0]
    return _Listed(names, labels, [classes[label] for label in sorted(classes)], file)


def _caltech101(root, split):
    kind, number = _numbered(split)
    classes = _sub_folders(root)
    names, labels = [], []
    for label, folder in enumerate(classes):
        images = sorted(name for name in os.listdir(root / folder) if name.lower().endswith(".jpg"))
        order = permutation(number, label, len(images))
        chosen = order[:_CALTECH_TRAIN] if kind == "train" else order[_CALTECH_TRAIN:]
        names += [f"{folder}/{images[index]}" for index in sorted(chosen)]
        labels += [label] * len(chosen)
    return _Listed(names, labels, classes, root)


def _flowers102(root, split):
    file = root / "setid.mat"
    numbers = read_mat(file, {"train": "trnid", "val": "valid", "test": "tstid"}[split])
    labels = read_mat(root / "imagelabels.mat", "labels")
    if any(not 1 <= number <= len(labels) for number in numbers):
        raise ValueError(f"data_dir: {file} names images that are not among the {len(labels)} of imagelabels.mat")
    names = [f"jpg/image_{number:05d}.jpg" for number in numbers]
    return _Listed(names, [int(labels[number - 1]) - 1 for number in numbers], _numbers(102), file)


class _Set(NamedTuple):
    """A data set.

    Attributes:
        folder (str): What its archive unpacks to.
        inside (str): What is in that folder, and tells that it is the one.
        classes (int): How many it has.
        images (dict[str, int]): How many a split has; N stands for a number from 1.
        read (Callable[[Path, str], _Listed]): From the folder and the name of a split.
    """

    folder: str
    inside: str
    classes: int
    images: dict
    read: Callable


_CALTECH_TRAIN = 30
TRANSFER_SETS = {
    "food101": _Set("food-101", "meta", 101, {"train": 75750, "test": 25250}, _food101),
    "sun397": _Set("SUN397", "a", 397, {"trainN": 19850, "testN": 19850}, _sun397),
    "cars": _Set("stanford_cars", "devkit", 196, {"train": 8144, "test": 8041}, _cars),
    "aircraft": _Set(
        "fgvc-aircraft-2013b", "data", 100, {"train": 3334, "val": 3333, "trainval": 6667, "test": 3333}, _aircraft
    ),
    "dtd": _Set("dtd", "labels", 47, {"trainN": 1880, "valN": 1880, "testN": 1880}, _dtd),
    "pets": _Set("oxford-iiit-pet", "annotations", 37, {"trainval": 3680, "test": 3669}, _pets),
    "caltech101": _Set("101_ObjectCategories", "accordion", 102, {"trainN": 3060, "testN": 6084}, _caltech101),
    "flowers102": _Set("flowers-102", "setid.mat", 102, {"train": 1020, "val": 1020, "test": 6149}, _flowers102),
}


def index_transfer_set(dataset, data_dir, split):
    """Finds the images of a split, and checks that they are what was published.

    Args:
        dataset (str): One of `TRANSFER_SETS`.
        data_dir (Path): What its archive unpacks to, or the folder that holds that.
        split (str): "train", "val", "test" and the like, as the lists of the data set are called.

    Returns:
        tuple[Path, FileIndex]: Folder that the names are relative to, and the names with labels and classes.

    Raises:
        FileNotFoundError: The folder, a list, or images of the list are not there.
        ValueError: There is no such split, a list is damaged, or the number of classes is not the published one.
    """
    found = TRANSFER_SETS[dataset]
    published = found.images.get(re.sub(r"[1-9][0-9]{0,3}$", "N", split))
    if published is None:
        splits = ", ".join(found.images).replace("N", "1")
        numbers = " (or another number than 1)" if "1" in splits else ""
        raise ValueError(f"dataset: {dataset} has no split {split!r}; choose one of {splits}{numbers}")
    roots = [root for root in (data_dir, data_dir / found.folder) if (root / found.inside).exists()]
    if not roots:
        raise FileNotFoundError(
            f"data_dir: neither {data_dir} nor {data_dir / found.folder} holds {found.inside!r} of {dataset}; unpack "
            "its archive there (docs/data.md has the layout)"
        )
    listed = found.read(roots[0], split)
    if len(listed.class_names) != found.classes:
        raise ValueError(
            f"data_dir: {roots[0]} has {len(listed.class_names)} classes, and {dataset} has {found.classes}; it is "
            "damaged, or something else: fetch it again"
        )
    if len(listed.names) != published:
        logger.warning(
            f"{dataset} {split}: {len(listed.names)} images, and the published one has {published}: scores are not "
            "comparable"
        )
    return roots[0], index_listed(roots[0], listed.names, listed.labels, listed.class_names, listed.listed_in)


def _numbered(split):
    kind, number = re.fullmatch(r"([a-z]+)([0-9]+)", split).groups()
    return kind, int(number)


def _folder(name):
    return name.rpartition("/")[0]


def _sub_folders(root):
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def _numbers(classes):
    return [str(number) for number in range(1, classes + 1)]


def _by_folder(file, names, of_class, classes):
    """Labels from the name of the class of each image."""
    label = {name: number for number, name in enumerate(classes)}
    strange = [number for number, name in enumerate(of_class) if name not in label]
    if strange:
        raise ValueError(
            f"data_dir: {file}:{strange[0] + 1}: {printable(of_class[strange[0]])[:80]!r} is none of the "
            f"{len(classes)} classes; mend the list, or fetch it again"
        )
    return _Listed(names, [label[name] for name in of_class], classes, file)
