"""A folder in the layout of VOC 2007, made of crops of real photographs."""

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

from mindbyol.data.voc import CLASSES

OBJECT = "<object><name>{}</name><part><name>head</name></part>{}</object>"
_CORNERS = "<xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax>"
WITH_BOX = (
    "<object><name>{}</name><difficult>{}</difficult>"
    f"<bndbox>{_CORNERS}</bndbox>"
    "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part></object>"
)


def annotation(objects):
    """The XML of some (class, difficult); difficult None leaves the element out, as some of VOC's files do."""
    marks = [(name, "" if hard is None else f"<difficult>{int(hard)}</difficult>") for name, hard in objects]
    return f"<annotation><folder>VOC2007</folder>{''.join(OBJECT.format(*mark) for mark in marks)}</annotation>"


def annotation_with_boxes(height, width, objects):
    """The XML of some (class, difficult, (xmin, ymin, xmax, ymax)), with boxes of parts, as people have them."""
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    text = "".join(WITH_BOX.format(name, int(hard), box=box) for name, hard, box in objects)
    return f"<annotation><folder>VOC2007</folder>{size}{text}</annotation>"


def write_images(root, split, images):
    """Writes a split.

    Args:
        root (Path): The folder VOC2007.
        split (str): Its name.
        images (list): (id, pixels or None for no file, XML or None for no file) of each image.
    """
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, pixels, xml in images:
        if pixels is not None:
            assert cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), np.ascontiguousarray(pixels[..., ::-1]))
        if xml is not None:
            (root / "Annotations" / f"{name}.xml").write_text(xml)
    (root / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name, *_ in images))


def write_places(root, split, count, first=0, jitter=10):
    """Writes a split whose classes can be told: each is a place in one of two photographs.

    An image shows a class; every fifth image names a second one, too, as difficult.

    Args:
        root (Path): The folder VOC2007.
        split (str): Its name.
        count (int): Images of each class.
        first (int): Number of the first image; images of other numbers are other crops.
        jitter (int): Pixels that a crop may lie off its place; with many, places are taken for each other.
    """
    photos = [cv2.resize(photo, (330, 140), interpolation=cv2.INTER_AREA) for photo in load_sample_images().images]
    rng = np.random.default_rng(first)
    images = []
    for number in range(count * len(CLASSES)):
        place = number % len(CLASSES)
        top, left = (place // 2 // 5) * 65 + rng.integers(0, jitter), (place // 2 % 5) * 64 + rng.integers(0, jitter)
        top, left = min(top, 76), min(left, 270)
        crop = photos[place % 2][top : top + 64, left : left + 60]
        objects = [(CLASSES[place], False)] + ([(CLASSES[place - 1], True)] if number % 5 == 0 else [])
        images.append((f"{first + number:06d}", crop, annotation(objects)))
    write_images(root, split, images)
