"""Images with a class at each pixel: VOC 2012 with its augmented annotations, and Cityscapes, as published.

A target is a mask: uint8 (H, W), the class of each pixel, or `IGNORED`.
"""

import io
import os

import numpy as np
from PIL import Image

from mindbyol.data.class_files import class_names
from mindbyol.data.decode import MAX_PIXELS, BadImage, DataError
from mindbyol.data.file_index import FileIndex
from mindbyol.data.listed_images import check_there, lines_of, some
from mindbyol.data.names import printable
from mindbyol.data.voc import CLASSES

IGNORED = 255
_LOOKED_AT = 100  # masks that are read before a run

_VOC_ROOTS = ("", "VOC2012", "VOCdevkit/VOC2012")
_VOC_LISTS = "ImageSets/Segmentation"
_VOC_SPLITS = {  # each list, and the folder of its masks
    "train": (("train", "SegmentationClass"),),
    "val": (("val", "SegmentationClass"),),
    "trainval": (("trainval", "SegmentationClass"),),
    "train_aug": (("train", "SegmentationClass"), ("aug", "SegmentationClassAug")),
}

# Cityscapes' 19 classes by the ids in `*_gtFine_labelIds.png`, in the order of its train ids; 0 to 33 are known ids.
_CITYSCAPES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
_UNKNOWN = 254  # what no id stands for
_ORIENTATION = 0x0112  # the tag of EXIF


def _table(classes):
    """What each value of a mask's file becomes: a class, `IGNORED`, or `_UNKNOWN`."""
    table = np.full(256, _UNKNOWN, np.uint8)
    table[IGNORED] = IGNORED
    for value, label in classes.items():
        table[value] = label
    return table


def _opened(root, images, masks, names, table):
    """What the readers return: folder, index of the images, and their masks."""
    index = FileIndex.from_names(map(os.fsencode, images), None, list(names))
    return root, index, Masks(root, masks, table, len(names))


class Masks:
    """The masks of some images, each in a file.

    Args:
        root (Path): Folder that the names are relative to.
        names (list[str]): Of the files.
        table (ndarray): uint8 (256,), what each value of a file becomes; see `_table`.
        classes (int): How many there are.
    """

    def __init__(self, root, names, table, classes):
        self._root = str(root)
        self._names = FileIndex.from_names(map(os.fsencode, names))
        self._table = table
        self._classes = classes

    def read(self, index, image_path):
        """A mask.

        Args:
            index (int): Which.
            image_path (str): Its image.

        Returns:
            ndarray: uint8 (H, W).

        Raises:
            OSError, BadImage: It cannot be read, or is not as large as the image.
            DataError: It holds an id that is none of the classes.
        """
        name = self._names[index]
        values = read_mask(os.path.join(self._root, name))
        mask = self._table[values]
        size = image_size(image_path)
        if mask.shape != size:
            raise BadImage(
                f"its mask {printable(name)} is {mask.shape[1]} x {mask.shape[0]}, and the image {size[1]} x {size[0]}"
            )
        unknown = mask == _UNKNOWN
        if unknown.any():
            raise DataError(
                f"dataset: {printable(name)} holds the id {values[unknown][0]}, which is none of the {self._classes} "
                f"classes, nor {IGNORED}, which does not count; mend the mask, or set another dataset"
            )
        return mask


def image_size(path):
    """Height and width of an image as it is decoded, from the head of its file.

    Raises:
        OSError, BadImage: It cannot be read.
    """
    with open(path, "rb") as file:
        try:
            with Image.open(file) as image:
                width, height = image.size
                turned = image.getexif().get(_ORIENTATION, 1) >= 5  # by a quarter
        except Exception as error:  # whatever a damaged file makes Pillow's parsers raise
            raise BadImage("not an image that Pillow can open") from error
    return (width, height) if turned else (height, width)


def look_at_some(source):
    """Reads some masks of a source, evenly spaced, so that what is wrong with them comes out before a run.

    Args:
        source (Source): With targets.

    Returns:
        ndarray: int64 (n, 2), height and width of those images whose masks can be read.

    Raises:
        DataError: As of `Masks.read`.
        ValueError: Its targets are objects with boxes.
    """
    if hasattr(source, "object_counts"):
        raise ValueError(f"dataset: {source.description}: there are boxes, and no class of each pixel to learn")
    sizes = []
    for index in np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int)).tolist():
        try:
            sizes.append(source.target(index).shape)
        except (OSError, BadImage):  # the run says so when it comes to it
            pass
    return np.array(sizes, np.int64).reshape(-1, 2)


def read_mask(path):
    """The values of a mask's file as they are stored, those of a palette, too: uint8 (H, W).

    Raises:
        OSError, BadImage: It cannot be read, or has more than one channel of 8 bits.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(f"its mask has more than {MAX_PIXELS:,} pixels")
            if image.mode not in ("L", "P"):
                raise BadImage(f"its mask is no image of one channel of 8 bits, but of Pillow's mode {image.mode}")
            return np.array(image)
    except BadImage:
        raise
    except Exception as error:
        raise BadImage(f"its mask is no image that Pillow can decode ({printable(str(error))})") from error


def index_voc12(data_dir, split):
    """A split of VOC 2012's segmentation.

    Args:
        data_dir (Path): `VOC2012` itself, `VOCdevkit`, or the folder that holds it.
        split (str): train, val or trainval, as VOC has them; train_aug, train with the 9,118 images of the list
            `aug.txt` and their masks in `SegmentationClassAug`, as MMSegmentation's converter of SBD writes them.

    Returns:
        tuple[Path, FileIndex, Masks]: The folder that names are relative to, the images, and their masks of the classes
        0 (background) to 20, or those of `class_files`.

    Raises:
        FileNotFoundError: Folder, list, images or masks are not there.
        ValueError: There is no such split, or a list names an image twice.
    """
    if split not in _VOC_SPLITS:
        raise ValueError(f"split '{split}' is none of voc12_segmentation: {', '.join(_VOC_SPLITS)}")
    root = next((data_dir / place for place in _VOC_ROOTS if (data_dir / place / _VOC_LISTS).is_dir()), None)
    if root is None:
        raise FileNotFoundError(
            f"data_dir: neither {data_dir} nor VOC2012 or VOCdevkit/VOC2012 in it has a folder {_VOC_LISTS}; name the "
            "folder where the archive of VOC 2012 was unpacked"
        )
    images, masks = [], []
    for name, folder in _VOC_SPLITS[split]:
        listed_in = root / _VOC_LISTS / f"{name}.txt"
        ids = lines_of(listed_in)
        for part in ids:
            if not part or part.startswith("/") or "\0" in part or ".." in part.split("/"):
                raise ValueError(f"data_dir: {listed_in}: '{printable(part)}' is no name of an image; mend the list")
        of_list = [f"JPEGImages/{part}.jpg" for part in ids], [f"{folder}/{part}.png" for part in ids]
        check_there(root, of_list[0], listed_in)
        check_there(root, of_list[1], listed_in, "masks")
        images += of_list[0]
        masks += of_list[1]
    if len(set(images)) < len(images):
        twice = next(name for name in images if images.count(name) > 1)
        raise ValueError(f"data_dir: {root / _VOC_LISTS}: {printable(twice)} is named twice in {split}; mend the lists")
    names = ("background", *class_names(root, CLASSES))
    return _opened(root, images, masks, names, _table({label: label for label in range(len(names))}))


def index_cityscapes(data_dir, split):
    """A split of Cityscapes with fine annotations.

    Args:
        data_dir (Path): The folder that holds `leftImg8bit` and `gtFine`.
        split (str): train or val; test has no annotations that were published.

    Returns:
        tuple[Path, FileIndex, Masks]: As of `index_voc12`; the 19 classes by their train ids, made of the ids in
        `*_gtFine_labelIds.png`. Where `class_files` has classes, the ids are those.

    Raises:
        FileNotFoundError: A folder is not there, an image has no annotation, or an annotation no image.
    """
    places = []
    for folder, end in (("leftImg8bit", "_leftImg8bit.png"), ("gtFine", "_gtFine_labelIds.png")):
        root = data_dir / folder / split
        if not root.is_dir():
            raise FileNotFoundError(f"data_dir: {root} is not there; name the folder that holds leftImg8bit and gtFine")
        found = (os.path.relpath(file, root) for file in root.glob(f"*/*{end}"))
        places.append(({name[: -len(end)] for name in found}, f"{folder}/{split}", end))
    (images, of_images, image_end), (masks, of_masks, mask_end) = places
    for there, others, what, where in (
        (images, masks, f"images of {of_images} have no annotation", of_masks),
        (masks, images, f"annotations of {of_masks} have no image", of_images),
    ):
        alone = sorted(there - others)
        if alone:
            raise FileNotFoundError(
                f"data_dir: {len(alone)} {what} in {data_dir / where}: {some(alone)}; fetch them again"
            )
    if not images:
        raise FileNotFoundError(
            f"data_dir: {data_dir / of_images} holds no city/*{image_end}; unpack the archive there"
        )
    names = sorted(images)
    image_names = [f"{of_images}/{name}{image_end}" for name in names]
    mask_names = [f"{of_masks}/{name}{mask_end}" for name in names]
    known = tuple(_CITYSCAPES.values())
    names = tuple(class_names(data_dir, known))
    table = {**dict.fromkeys(range(34), IGNORED), **{value: label for label, value in enumerate(_CITYSCAPES)}}
    if names != known:  # ids of its own are the classes
        table = {label: label for label in range(len(names))}
    return _opened(data_dir, image_names, mask_names, names, _table(table))


MASK_SETS = {"voc12_segmentation": index_voc12, "cityscapes": index_cityscapes}
