"""Small gray images in IDX files, the layout in which MNIST, Fashion-MNIST and their relatives are published.

A file is a magic number (two zero bytes, the type of its numbers, how many dimensions there are), each dimension as a
big-endian uint32, then the numbers: http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

_PREFIXES = {"train": "train", "test": "t10k"}
_UINT8 = 8  # The type of numbers that these data sets have.
_LARGEST = 2**33  # Bytes; a header that says more is damaged.


class IdxFiles:
    """A split of MNIST, Fashion-MNIST or another data set in their layout, as RGB; gzipped files need no unpacking.

    Args:
        data_dir (str): Folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and the same of `t10k`, each
            as it is or with `.gz`.
        split (str): "train" or "test" ("val" is another name of it).

    Attributes:
        class_names (list[str]): The labels as text, up to the largest of either split.

    Raises:
        FileNotFoundError: The files are not there.
        ValueError: There is no such split, or a file is damaged.
    """

    def __init__(self, data_dir, split):
        split = "test" if split == "val" else split
        if split not in _PREFIXES:
            raise ValueError(f"dataset: mnist has no split {split!r}; choose one of {', '.join(_PREFIXES)}")
        self._folder = Path(data_dir)
        self._split = split
        self._open()
        self.labels = self._read_labels(split).astype(np.int32)
        if len(self.labels) != len(self):
            raise ValueError(
                f"data_dir: {self._folder} holds {len(self.labels)} labels for the {len(self)} images of {split}; "
                "fetch both again"
            )
        others = [self._read_labels(other) for other in _PREFIXES if other != split and self._find(other, "labels")]
        largest = max(int(labels.max(initial=0)) for labels in (self.labels, *others))
        self.class_names = [str(label) for label in range(largest + 1)]
        self.description = f"{len(self)} images, {len(self.class_names)} classes, mnist {split}"

    def _open(self):
        path = self._find(self._split, "images")
        if path is None:
            raise FileNotFoundError(
                f"data_dir: neither {_name(self._split, 'images')} nor the same with .gz is in {self._folder}; put the "
                "files of MNIST or Fashion-MNIST there, as published"
            )
        self._images = _read(path, 3)
        if not self._images.size:
            raise ValueError(f"data_dir: {path} holds no images; fetch it again")

    def _read_labels(self, split):
        path = self._find(split, "labels")
        if path is None:
            raise FileNotFoundError(
                f"data_dir: {_name(split, 'labels')}, the labels of {_name(split, 'images')}, is not in "
                f"{self._folder}; put it beside them"
            )
        return _read(path, 1)

    def _find(self, split, what):
        """Path of the images or labels of a split, or None."""
        name = _name(split, what)
        return next((self._folder / f for f in (name, f"{name}.gz") if (self._folder / f).is_file()), None)

    def __len__(self):
        return len(self._images)

    def __getitem__(self, index):
        """Returns the pixels, uint8 RGB with three equal channels, shape (height, width, 3)."""
        return np.repeat(self._images[index][..., None], 3, axis=2)

    def name(self, index):
        """Returns a name for messages and listings, such as "mnist/train/17"."""
        return f"mnist/{self._split}/{index}"

    def __getstate__(self):
        return {key: value for key, value in self.__dict__.items() if key != "_images"}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._open()


def _name(split, what):
    return f"{_PREFIXES[split]}-{what}-idx{3 if what == 'images' else 1}-ubyte"


def _read(path, dimensions):
    """Reads an IDX file of uint8.

    Args:
        path (Path): The file; one that ends in .gz is unpacked.
        dimensions (int): How many it must have.

    Returns:
        ndarray: uint8, of the shape that the file says.

    Raises:
        ValueError: It is no such file, is cut off, or holds more than it says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            header = file.read(4 + 4 * dimensions)
            if header[:4] != bytes([0, 0, _UINT8, dimensions]) or len(header) < 4 + 4 * dimensions:
                raise ValueError(
                    f"data_dir: {path} is no IDX file of bytes in {dimensions} dimension{'s'[: dimensions - 1]}: it is "
                    "damaged; fetch it again"
                )
            shape = struct.unpack(f">{dimensions}I", header[4:])
            expected = math.prod(shape)
            # One more than there may be: a longer file is noticed, and need not be read to its end.
            data = file.read(expected + 1) if expected <= _LARGEST else b""
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"data_dir: {path} cannot be unpacked ({error}); fetch it again") from None
    if len(data) != expected:
        there = "more" if len(data) > expected else f"{len(data):,}"
        size = " x ".join(map(str, shape))
        raise ValueError(
            f"data_dir: {path} says that it holds {size} = {expected:,} bytes, and holds {there}: it is damaged; "
            "fetch it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)
