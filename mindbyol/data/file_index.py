"""The names of image files: found once under a folder, kept small, and cached when there are many."""

import array
import hashlib
import json
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from mindbyol.data.names import printable

logger = logging.getLogger(__name__)

EXTENSIONS = (b".jpg", b".jpeg", b".png", b".bmp", b".webp", b".tif", b".tiff", b".gif", b".ppm", b".pgm", b".jp2")
CACHE_FROM = 20_000  # Images; a smaller folder is scanned faster than anyone notices.
_REPORT_EVERY = 5.0  # Seconds.
_FORMAT = 2  # Lists of format 1 were not checked as `image_list` checks them.


class FileIndex:
    """Names, and labels when there are classes, of the images under a folder.

    The names lie one after the other in one array: 1.28 million cost some 60 MB. An index that came from a cache file
    is mapped into memory, and pickling it passes only the file's path, so that all processes share one copy.

    Attributes:
        labels (numpy.ndarray or None): int32, shape (len,).
        class_names (list[str] or None): Name of each label.
    """

    def __init__(self, names, ends, labels=None, class_names=None, cache_file=None):
        self._names = names
        self._ends = ends
        self.labels = labels
        self.class_names = class_names
        self._cache_file = cache_file

    @classmethod
    def from_names(cls, names, labels=None, class_names=None):
        """Builds an index of `names` (iterable of bytes), with the labels beside them."""
        letters, ends = bytearray(), array.array("q")
        for name in names:
            letters += name
            ends.append(len(letters))
        return cls(np.frombuffer(bytes(letters), np.uint8), np.array(ends, np.int64), labels, class_names)

    def __len__(self):
        return len(self._ends)

    def __getitem__(self, index):
        start = self._ends[index - 1] if index else 0
        return os.fsdecode(self._names[start : self._ends[index]].tobytes())

    def __reduce__(self):
        if self._cache_file is not None:
            return _load, (self._cache_file,)
        return FileIndex, (self._names, self._ends, self.labels, self.class_names)


def index_images(root, with_classes, cache_from=CACHE_FROM):
    """Finds the images under a folder, at any depth.

    Hidden files and folders are ignored, links are followed. The order does not depend on the file system: the files
    of a folder sorted by name, then its sub-folders sorted by name. An index of `cache_from` or more images is kept in
    the user's cache folder and used again until one of the folders changes.

    Args:
        root (str or Path): Folder to look in.
        with_classes (bool): The sub-folders of `root`, sorted by name, are classes 0, 1, ...; images right in `root`
            do not count.
        cache_from (int): Number of images from which on the index is cached.

    Returns:
        FileIndex: Names relative to `root`.

    Raises:
        ValueError: A class folder holds no image.
    """

    def scan():
        found = _Scan(os.fsencode(root), with_classes)
        return found.index, found.folders

    return cached(root, "classes" if with_classes else "images", scan, cache_from)


def cached(root, kind, make, cache_from):
    """Takes an index from the cache, or makes it.

    Args:
        root (str or Path): Folder that the names are relative to.
        kind (str): What of the folder is indexed; with the folder, the key of the cache.
        make (callable): Returns the FileIndex and {path under `root`: time of its last change in ns}.
        cache_from (int): Number of images from which on the index is cached.

    Returns:
        FileIndex: The index.
    """
    cache_file = _cache_file(root, kind)
    if cache_file.exists():
        started = time.monotonic()
        index = _load_if_fresh(cache_file, root)
        if index is not None:
            seconds = time.monotonic() - started
            logger.info("%s: %d images, from the index %s (%.1f s)", root, len(index), cache_file, seconds)
            return index
    index, changed = make()
    if len(index) >= cache_from:
        try:
            _save(cache_file, index, changed)
            index = _load(cache_file)
        except OSError as error:
            logger.warning("The index of %s cannot be kept (%s): the next start makes it again", root, error)
    return index


class _Scan:
    def __init__(self, root, with_classes):
        self.folders = {}  # Relative name: time of the last change in ns.
        self._root = root
        self._found = 0
        self._started = self._reported = time.monotonic()
        if with_classes:
            _, class_folders = self._list(b"")
            labels = array.array("i")
            self.index = FileIndex.from_names(self._walk_classes(class_folders, labels))
            self.index.labels = np.array(labels, np.int32)
            self.index.class_names = [os.fsdecode(folder) for folder in class_folders]
        else:
            self.index = FileIndex.from_names(self._walk(b"", ()))
        seconds = time.monotonic() - self._started
        if seconds > _REPORT_EVERY:
            logger.info("Scanned %s: %d images in %.0f s", os.fsdecode(root), len(self.index), seconds)

    def _walk_classes(self, class_folders, labels):
        for label, folder in enumerate(class_folders):
            before = len(labels)
            for name in self._walk(folder, (self._identity(b""),)):
                labels.append(label)
                yield name
            if len(labels) == before:
                where = printable(os.fsdecode(os.path.join(self._root, folder)))
                raise ValueError(
                    f"data_dir: the class folder {where} holds no image; remove it, or put its images there"
                )

    def _walk(self, folder, above):
        identity = self._identity(folder)
        if identity in above:
            return  # A link back to a folder that we are in.
        files, folders = self._list(folder)
        self._found += len(files)
        self._report(0)
        for name in files:
            yield os.path.join(folder, name)
        del files
        for name in folders:
            yield from self._walk(os.path.join(folder, name), above + (identity,))

    def _identity(self, folder):
        status = os.stat(os.path.join(self._root, folder))
        return status.st_dev, status.st_ino

    def _list(self, folder):
        path = os.path.join(self._root, folder)
        self.folders[os.fsdecode(folder)] = os.stat(path).st_mtime_ns
        files, folders = [], []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.name.lower().endswith(EXTENSIONS) and entry.is_file():
                    files.append(entry.name)
                    if len(files) % 10_000 == 0:
                        self._report(len(files))
                elif entry.is_dir():
                    folders.append(entry.name)
        return sorted(files), sorted(folders)

    def _report(self, pending):
        now = time.monotonic()
        if now - self._reported > _REPORT_EVERY:
            self._reported = now
            logger.info("Scanning %s: %d images so far", os.fsdecode(self._root), self._found + pending)


def _cache_file(root, kind):
    folder = os.environ.get("MINDBYOL_CACHE")
    if not folder:
        folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mindbyol")
    key = f"{os.path.realpath(root)}\n{kind}".encode(errors="surrogateescape")
    return Path(folder) / f"index-{hashlib.sha256(key).hexdigest()[:16]}"


def _save(cache_file, index, changed):
    """One line of JSON, then the arrays, each starting at a multiple of 64 bytes."""
    header = {
        "format": _FORMAT,
        "changed": changed,
        "class_names": index.class_names,
        "names": len(index._names),
        "images": len(index),
    }
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=cache_file.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            for part in (index._names, index._ends, index.labels):
                if part is not None:
                    file.write(b"\0" * (-file.tell() % 64))
                    file.write(part)
        os.replace(beside, cache_file)
    except BaseException:
        os.unlink(beside)
        raise


def _load(cache_file):
    with open(cache_file, "rb") as file:
        line = file.readline()
    header = json.loads(line)
    images, class_names = header["images"], header["class_names"]
    layout = [(np.uint8, header["names"]), (np.int64, images)]
    if class_names is not None:
        layout.append((np.int32, images))
    offset, arrays = len(line), []
    for dtype, length in layout:
        offset += -offset % 64
        arrays.append(np.asarray(np.memmap(cache_file, dtype, "r", offset, (length,))))
        offset += arrays[-1].nbytes
    names, ends, *labels = arrays
    return FileIndex(names, ends, labels[0] if labels else None, class_names, cache_file)


def _load_if_fresh(cache_file, root):
    try:
        with open(cache_file, "rb") as file:
            header = json.loads(file.readline())
        if header["format"] != _FORMAT:
            return None
        for name, changed in header["changed"].items():
            if os.stat(os.path.join(root, name)).st_mtime_ns != changed:
                logger.info("%s has changed since it was indexed: making its index anew", os.path.join(root, name))
                return None
        return _load(cache_file)
    except (OSError, ValueError, KeyError) as error:  # Gone, cut off or not ours: scan again.
        logger.info("The index %s is not usable (%s): making it anew", cache_file, error)
        return None
