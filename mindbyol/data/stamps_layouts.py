"""Scenes of `stamps` as files, in the layouts that VOC 2012, COCO 2017 and Cityscapes are published in."""

import json

import cv2
import numpy as np
from PIL import Image

from mindbyol.data import stamps
from mindbyol.data.class_files import NAME as CLASSES_FILE
from mindbyol.data.voc_colours import palette

_IGNORED = 255
_OBJECT = (
    "<object><name>{name}</name><truncated>{truncated:d}</truncated><occluded>{occluded:d}</occluded>"
    "<difficult>{difficult:d}</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax>"
    "<ymax>{box[3]}</ymax></bndbox></object>"
)


class Voc:
    """`VOCdevkit/VOC2012`, with its classes in `classes.txt`: boxes, and masks of classes and of objects.

    Corners of boxes count from 1 and are those of the first and the last pixel, as in VOC. A crowd is one object that
    is marked as difficult. In both masks 0 is background and pixels with mixed colours are 255; they are palette images
    in VOC's colours.
    """

    def __init__(self, folder):
        self._root = folder / "VOCdevkit/VOC2012"
        for name in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationObject"):
            (self._root / name).mkdir(parents=True)
        for name in ("Main", "Segmentation"):
            (self._root / "ImageSets" / name).mkdir(parents=True)
        (self._root / CLASSES_FILE).write_text("".join(f"{name}\n" for name in stamps.CLASSES))
        self._palette = palette().ravel().tolist()

    def add(self, split, name, scene, jpeg):
        (self._root / f"JPEGImages/{name}.jpg").write_bytes(jpeg)
        height, width = scene.image.shape[:2]
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        objects = "\n".join(_voc_object(one) for one in scene.objects)
        head = f"<folder>VOC2012</folder><filename>{name}.jpg</filename>{size}<segmented>1</segmented>"
        (self._root / f"Annotations/{name}.xml").write_text(f"<annotation>{head}\n{objects}\n</annotation>\n")
        self._save_mask("SegmentationClass", name, class_map(scene))
        of_objects = np.zeros((height, width), np.uint8)
        for number, one in enumerate(scene.objects, 1):
            of_objects[one.mask] = number
        of_objects[scene.mixed] = _IGNORED
        self._save_mask("SegmentationObject", name, of_objects)
        for listed in ("Main", "Segmentation"):
            with open(self._root / f"ImageSets/{listed}/{split}.txt", "a") as file:
                file.write(f"{name}\n")

    def _save_mask(self, folder, name, mask):
        image = Image.fromarray(mask)
        image.putpalette(self._palette)
        image.save(self._root / folder / f"{name}.png")

    def finish(self):
        pass


class Coco:
    """`coco/annotations/instances_<split>2017.json` and `coco/<split>2017`: boxes and masks, crowds marked.

    Masks are run lengths, which are exact.
    """

    def __init__(self, folder):
        self._root = folder / "coco"
        (self._root / "annotations").mkdir(parents=True)
        self._images, self._annotations = {}, {}

    def add(self, split, name, scene, jpeg):
        images, annotations = self._images.setdefault(split, []), self._annotations.setdefault(split, [])
        height, width = scene.image.shape[:2]
        folder = self._root / f"{split}2017"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.jpg").write_bytes(jpeg)
        number = len(images) + 1
        images.append({"id": number, "file_name": f"{name}.jpg", "height": height, "width": width})
        for one in scene.objects:
            x1, y1, x2, y2 = one.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": one.label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": int(one.mask.sum()),
                    "iscrowd": int(one.crowd),
                    "segmentation": {"counts": run_lengths(one.mask), "size": [height, width]},
                }
            )

    def finish(self):
        categories = [{"id": number, "name": name} for number, name in enumerate(stamps.CLASSES, 1)]
        for split, images in self._images.items():
            content = {"images": images, "annotations": self._annotations[split], "categories": categories}
            (self._root / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))


class Cityscapes:
    """`cityscapes/leftImg8bit` and `cityscapes/gtFine`, with the names of the ids in `classes.txt`.

    Id 0 is `background`; pixels with mixed colours are 255, which is no id.
    """

    def __init__(self, folder):
        self._root = folder / "cityscapes"
        self._root.mkdir()
        (self._root / CLASSES_FILE).write_text("".join(f"{name}\n" for name in ("background", *stamps.CLASSES)))

    def add(self, split, name, scene, jpeg):
        for folder, kind, pixels in (
            ("leftImg8bit", "leftImg8bit", scene.image[..., ::-1]),
            ("gtFine", "gtFine_labelIds", class_map(scene)),
        ):
            city = self._root / folder / split / "stamps"
            city.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(city / f"stamps_{name}_{kind}.png"), pixels):
                raise OSError(f"{city}: the picture of scene {name} could not be written; is the disk full?")

    def finish(self):
        pass


def write(folder, cutouts, counts, size, seed):
    """Composes scenes and writes them in all layouts.

    Args:
        folder (Path): An empty one.
        cutouts (dict[str, list]): See `stamps.find_cutouts`.
        counts (dict[str, int]): Scenes of each split.
        size, seed (int): See `stamps.compose`.

    Returns:
        dict[str, int]: How many scenes, objects, occluded, difficult and crowd ones there are.
    """
    layouts = [kind(folder) for kind in (Voc, Coco, Cityscapes)]
    objects = []
    for place, (split, count) in enumerate(counts.items()):
        for number in range(count):
            scene = stamps.compose(cutouts[split], size, (seed, place), number)
            _, jpeg = cv2.imencode(".jpg", scene.image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 92))
            for layout in layouts:
                layout.add(split, f"{place:06d}_{number:06d}", scene, jpeg.tobytes())
            objects += scene.objects
    for layout in layouts:
        layout.finish()
    marks = {mark: sum(getattr(one, mark) for one in objects) for mark in ("occluded", "difficult", "crowd")}
    return {"scenes": sum(counts.values()), "objects": len(objects), **marks}


def class_map(scene):
    """What each pixel shows: uint8 (H, W), 0 for background, the class counted from 1, 255 where colours are mixed."""
    found = np.zeros(scene.image.shape[:2], np.uint8)
    for one in scene.objects:
        found[one.mask] = one.label + 1
    found[scene.mixed] = _IGNORED
    return found


def run_lengths(mask):
    """COCO's run lengths: of zeros, ones, zeros, ..., down the columns.

    Args:
        mask (numpy.ndarray): bool (H, W).

    Returns:
        list[int]: The first may be 0; their sum is H * W.
    """
    pixels = np.concatenate([[False], mask.ravel(order="F")])
    ends = np.flatnonzero(pixels[1:] != pixels[:-1])
    return np.diff([0, *ends, mask.size]).tolist()


def _voc_object(one):
    name = list(stamps.CLASSES)[one.label]
    x1, y1, x2, y2 = one.box
    values = {**one._asdict(), "difficult": one.difficult or one.crowd, "box": (x1 + 1, y1 + 1, x2, y2)}
    return _OBJECT.format(name=name, **values)
