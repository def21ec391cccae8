"""Images in files of their own, with what belongs to each of them, and parts of a source."""

import os
import stat

import numpy as np

from mindbyol.data.decode import BadImage
from mindbyol.data.names import printable

MAX_FILE_BYTES = 2**30  # Of an image file. The largest image that is decoded, as a 16-bit TIFF, fits.


class ImageFiles:
    """Image files under a folder.

    Args:
        root (Path): Folder that the names are relative to.
        index (FileIndex): Names, and labels and classes if there are any.
        origin (str): Where the images are from, for the description.
    """

    def __init__(self, root, index, origin):
        self._root = str(root)
        self._index = index
        classes = "no labels" if index.labels is None else f"{len(index.class_names)} classes"
        self.description = f"{len(index)} images, {classes}, {origin}"

    @property
    def labels(self):
        return self._index.labels

    @property
    def class_names(self):
        return self._index.class_names

    def __len__(self):
        return len(self._index)

    def __getitem__(self, index):
        """Returns the bytes of the file.

        Raises:
            BadImage: It is a device, a pipe or the like, or larger than `MAX_FILE_BYTES`.
            OSError: It cannot be read.
        """
        with open(self.path(index), "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadImage("not a regular file, but a device, a pipe or the like")
            if status.st_size > MAX_FILE_BYTES:
                raise BadImage(f"{status.st_size:,} bytes, more than an image file may have ({MAX_FILE_BYTES:,})")
            return file.read(status.st_size)

    def path(self, index):
        """Returns the path of the file, as the system knows it."""
        return os.path.join(self._root, self._index[index])

    def name(self, index):
        """Returns the path relative to the folder of the data set, for messages and listings; see `names.printable`."""
        return printable(self._index[index])


class ObjectFiles(ImageFiles):
    """Image files with objects; `target(index)` gives those of an image, see `objects.Objects`.

    Args:
        root (Path), index (FileIndex), origin (str): See `ImageFiles`; `class_names` are the classes of objects.
        table (ObjectTable): The objects.
        coco (CocoFile): What scoring with COCO's tools takes; None for other data sets.

    Attributes:
        sizes (numpy.ndarray): int32 (N, 2): height and width of each image, as its annotation says.
        object_counts, neutral_counts (numpy.ndarray): int64 (N,): objects of each image; how many of them are neutral.
        has_masks (bool): Whether objects have masks.
    """

    def __init__(self, root, index, table, origin, coco=None):
        super().__init__(root, index, origin)
        self._table = table
        self.sizes = table.sizes
        self.has_masks = table.has_masks
        self.object_counts, self.neutral_counts = table.counts, table.neutral_counts
        self.coco = coco
        self.description = f"{len(index)} images, {len(table)} objects of {len(index.class_names)} classes, {origin}"

    def target(self, index):
        return self._table[index]


class MaskFiles(ImageFiles):
    """Image files with a class at each pixel; `target(index)` gives those of an image, see `masks`.

    Args:
        root (Path), index (FileIndex), origin (str): See `ImageFiles`; `class_names` are the classes of pixels.
        masks (Masks): In the order of the images.
    """

    def __init__(self, root, index, masks, origin):
        super().__init__(root, index, origin)
        self._masks = masks
        self.description = f"{len(index)} images with masks, {len(index.class_names)} classes, {origin}"

    def target(self, index):
        return self._masks.read(index, self.path(index))


class Subset:
    """Some images of a source.

    Args:
        source (Source): Where the images are from.
        indices (numpy.ndarray): Indices into it.
    """

    def __init__(self, source, indices):
        self._source = source
        self._indices = np.asarray(indices, np.int64)
        self.labels = None if source.labels is None else np.asarray(source.labels)[self._indices]
        self.class_names = source.class_names
        self.description = f"{len(self._indices)} of {source.description}"

    def __len__(self):
        return len(self._indices)

    def __getitem__(self, index):
        return self._source[int(self._indices[index])]

    def name(self, index):
        return self._source.name(int(self._indices[index]))

    @property
    def target(self):
        """The method `target(index)`; there is none if the source has none."""
        of_source = self._source.target
        return lambda index: of_source(int(self._indices[index]))

    @property
    def sizes(self):
        return self._source.sizes[self._indices]

    @property
    def object_counts(self):
        return self._source.object_counts[self._indices]

    @property
    def neutral_counts(self):
        return self._source.neutral_counts[self._indices]

    @property
    def has_masks(self):
        return self._source.has_masks

    @property
    def coco(self):
        of_source = self._source.coco
        if of_source is None:
            return None
        return of_source._replace(image_ids=of_source.image_ids[self._indices], sizes=of_source.sizes[self._indices])


def _open_at_once(path, flags):
    """Opens a pipe without waiting for someone to write to it; files do not notice."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
