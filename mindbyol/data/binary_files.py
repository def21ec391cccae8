"""The small data sets in their published binary layouts, and scikit-learn's digits."""

import hashlib
import logging
import os
import tarfile
import tempfile
import urllib.request
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)

ARCHIVES = {  # Official home and its MD5, as published there.
    "cifar10": ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    "cifar100": ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
    "stl10": ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"),
}
_SPLITS = {
    "cifar10": {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]},
    "cifar100": {"train": ["train.bin"], "test": ["test.bin"]},
    "stl10": {
        "train": ["train_X.bin"],
        "test": ["test_X.bin"],
        "unlabeled": ["unlabeled_X.bin"],
        "train+unlabeled": ["train_X.bin", "unlabeled_X.bin"],
    },
}
_FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary", "stl10": "stl10_binary"}
_CLASS_NAMES = {"cifar10": "batches.meta.txt", "cifar100": "fine_label_names.txt", "stl10": "class_names.txt"}
_CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10}
_LABEL_BYTES = {"cifar10": 1, "cifar100": 2, "stl10": 0}  # In front of each image; CIFAR-100: coarse, fine.
_SIDE = {"cifar10": 32, "cifar100": 32, "stl10": 96}


class BinaryFiles:
    """CIFAR-10, CIFAR-100 or STL10 from their binary files, mapped into memory.

    Args:
        dataset (str): "cifar10", "cifar100" or "stl10".
        data_dir (str): Folder with the files, or with the folder that their archive unpacks to.
        split (str): "train" or "test" ("val" is another name of it); for STL10 also "unlabeled" and "train+unlabeled",
            which have no labels.
        download (bool): Fetch the archive into `data_dir` when the files are not there.

    Raises:
        FileNotFoundError: The files are not there; the message says what to put where.
        ValueError: There is no such split, a file has a wrong size, or a label is out of range.
    """

    def __init__(self, dataset, data_dir, split, download=False):
        self._dataset = dataset
        split = "test" if split == "val" else split
        if split not in _SPLITS[dataset]:
            raise ValueError(f"dataset: {dataset} has no split {split!r}; choose one of {', '.join(_SPLITS[dataset])}")
        folder = _find_folder(dataset, data_dir, _SPLITS[dataset][split], download)
        self._files = [folder / name for name in _SPLITS[dataset][split]]
        self._open()
        self.class_names = _read_class_names(folder / _CLASS_NAMES[dataset], _CLASSES[dataset])
        self.labels = self._read_labels()
        classes = "no labels" if self.labels is None else f"{len(self.class_names)} classes"
        self.description = f"{len(self)} images, {classes}, {dataset} {split}"
        self._split = split

    def _open(self):
        side = _SIDE[self._dataset]
        record = _LABEL_BYTES[self._dataset] + 3 * side * side
        for file in self._files:
            if file.stat().st_size == 0 or file.stat().st_size % record:
                raise ValueError(
                    f"data_dir: {file} has {file.stat().st_size} bytes, not a multiple of {record}: it is "
                    "damaged; fetch it again"
                )
        self._records = [np.memmap(file, np.uint8, "r").reshape(-1, record) for file in self._files]
        self._starts = np.cumsum([0] + [len(records) for records in self._records])

    def _read_labels(self):
        if self._dataset == "stl10":
            if len(self._files) > 1 or self._files[0].name == "unlabeled_X.bin":
                return None
            file = self._files[0].with_name(self._files[0].name.replace("_X", "_y"))
            if not file.is_file():
                raise FileNotFoundError(
                    f"data_dir: {file}, the labels of {self._files[0].name}, is not there; put it beside them"
                )
            stored = np.fromfile(file, np.uint8)
            if len(stored) != len(self):
                raise ValueError(
                    f"data_dir: {file} holds {len(stored)} labels for {len(self)} images; fetch labels and images again"
                )
            return self._checked(file, stored, first=1)
        column = _LABEL_BYTES[self._dataset] - 1
        parts = zip(self._files, self._records)
        return np.concatenate([self._checked(file, records[:, column], first=0) for file, records in parts])

    def _checked(self, file, stored, first):
        """Turns the labels of a file, of which `first` is the smallest, into labels from 0."""
        labels = np.asarray(stored).astype(np.int32) - first
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))
        if len(wrong):
            raise ValueError(
                f"data_dir: {file}: the label of image {wrong[0]}, counted from 0, is {stored[wrong[0]]}; the labels "
                f"of {self._dataset} are {first}..{len(self.class_names) - 1 + first}: it is damaged; fetch it again"
            )
        return labels

    def __len__(self):
        return int(self._starts[-1])

    def __getitem__(self, index):
        """Returns the pixels, uint8 RGB, shape (side, side, 3)."""
        part = int(np.searchsorted(self._starts, index, "right")) - 1
        record = self._records[part][index - self._starts[part]]
        side = _SIDE[self._dataset]
        planes = record[_LABEL_BYTES[self._dataset] :].reshape(3, side, side)
        # STL10's planes are stored column by column.
        order = (2, 1, 0) if self._dataset == "stl10" else (1, 2, 0)
        return np.ascontiguousarray(planes.transpose(order))

    def name(self, index):
        """Returns a name for messages and listings, such as "stl10/train/17"."""
        return f"{self._dataset}/{self._split}/{index}"

    def __getstate__(self):
        return {key: value for key, value in self.__dict__.items() if key not in ("_records", "_starts")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._open()


class Digits:
    """The 1,797 handwritten digits of scikit-learn: 8x8, gray, here as RGB in 0..255.

    The split is fixed: of each class, in the order of the data set, every fifth image is for validation (355), the
    others are for training (1,442).

    Args:
        split (str): "train" or "val".
    """

    def __init__(self, split):
        if split not in ("train", "val"):
            raise ValueError(f"dataset: digits has no split {split!r}; choose one of train, val")
        from sklearn.datasets import load_digits  # Takes a second, and only this data set needs it.

        digits = load_digits()
        position = np.empty(len(digits.target), int)
        for digit in range(10):
            of_class = np.flatnonzero(digits.target == digit)
            position[of_class] = np.arange(len(of_class))
        chosen = (position % 5 == 4) == (split == "val")
        gray = np.round(digits.images[chosen] * (255 / 16)).astype(np.uint8)
        self._images = np.repeat(gray[..., None], 3, axis=3)
        self._split = split
        self.labels = digits.target[chosen].astype(np.int32)
        self.class_names = [str(digit) for digit in range(10)]
        self.description = f"{len(self)} images, 10 classes, digits {split}"

    def __len__(self):
        return len(self._images)

    def __getitem__(self, index):
        """Returns the pixels, uint8 RGB, shape (8, 8, 3)."""
        return self._images[index]

    def name(self, index):
        """Returns a name for messages and listings, such as "digits/train/17"."""
        return f"digits/{self._split}/{index}"


def _read_class_names(file, classes):
    """The names in a file, or the numbers of the classes if there is none."""
    if not file.is_file():
        return [str(label) for label in range(classes)]
    names = file.read_text(encoding="utf-8", errors="replace").split()
    if len(names) != classes:
        raise ValueError(
            f"data_dir: {file} names {len(names)} classes, not {classes}; mend it, or remove it (numbers do as well)"
        )
    return names


def _find_folder(dataset, data_dir, files, download):
    folders = (Path(data_dir), Path(data_dir) / _FOLDERS[dataset])
    for folder in folders:
        if all((folder / name).is_file() for name in files):
            return folder
    url, md5 = ARCHIVES[dataset]
    if not download:
        raise FileNotFoundError(
            f"data_dir: {', '.join(files)} of {dataset} are not in {folders[0]} or {folders[1]}; unpack {url} into "
            f"{data_dir}, or set dataset_download: True"
        )
    download_archive(url, md5, data_dir)
    return folders[1]


def download_archive(url, md5, data_dir):
    """Fetches a .tar.gz archive, checks it and unpacks it into `data_dir`.

    An archive of that name that already lies in `data_dir` is used instead of the network.

    Raises:
        OSError: The archive cannot be fetched; the message names it and the folder to put it in.
        ValueError: The archive is not the published one.
    """
    os.makedirs(data_dir, exist_ok=True)
    archive = Path(data_dir) / url.rsplit("/", 1)[1]
    if not archive.exists():
        logger.info("Downloading %s to %s", url, archive)
        descriptor, beside = tempfile.mkstemp(dir=data_dir)
        try:
            with os.fdopen(descriptor, "wb") as file, urllib.request.urlopen(url, timeout=60) as response:
                while block := response.read(1 << 20):
                    file.write(block)
            os.replace(beside, archive)
        except OSError as error:
            os.unlink(beside)
            raise OSError(
                f"dataset_download: {url} cannot be downloaded ({error}); put the file into {data_dir} and start again"
            ) from error
    digest = hashlib.md5()
    with open(archive, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != md5:
        raise ValueError(
            f"data_dir: {archive} is not the published archive (MD5 {digest.hexdigest()}, not {md5}); remove it"
        )
    with tarfile.open(archive) as tar:
        tar.extractall(data_dir)
