"""Small composed scenes: squares, discs and triangles of their own colours on noise, with their boxes and masks."""

import json

import cv2
import numpy as np

from mindbyol.detection.detections import run_lengths
from tests.voc_layout import annotation_with_boxes, write_images

SHAPES = ("square", "disc", "triangle")
COLOURS = np.array([[220, 60, 50], [60, 200, 80], [70, 90, 230]])


def scene(rng, height, width, most=3):
    """Draws a scene.

    Args:
        rng (numpy.random.Generator): What is where.
        height, width (int): Of the image.
        most (int): Objects; they do not touch.

    Returns:
        tuple: Image, uint8 (height, width, 3); boxes, float32 (G, 4); classes, int32 (G,), numbers in `SHAPES`.
    """
    return scene_with_masks(rng, height, width, most)[:3]


def scene_with_masks(rng, height, width, most=3):
    """The same, and masks, uint8 (G, height, width)."""
    image = rng.integers(90, 140, (height, width, 3))
    boxes, classes, masks = [], [], []
    for _ in range(20):
        if len(boxes) == most:
            break
        h, w = rng.integers(14, 33, 2)
        y, x = rng.integers(0, height - h), rng.integers(0, width - w)
        if any(x < b[2] + 2 and b[0] < x + w + 2 and y < b[3] + 2 and b[1] < y + h + 2 for b in boxes):
            continue
        kind = int(rng.integers(3))
        rows, columns = (np.arange(h)[:, None] + 0.5) / h, (np.arange(w) + 0.5) / w
        inside = {
            "square": np.ones((h, w), bool),
            "disc": (rows - 0.5) ** 2 + (columns - 0.5) ** 2 <= 0.25,
            "triangle": np.abs(columns - 0.5) <= rows / 2,
        }[SHAPES[kind]]
        image[y : y + h, x : x + w][inside] = COLOURS[kind] + rng.integers(-15, 16, 3)
        boxes.append((x, y, x + w, y + h))
        classes.append(kind)
        masks.append(np.zeros((height, width), np.uint8))
        masks[-1][y : y + h, x : x + w] = inside
    return image.clip(0, 255).astype(np.uint8), np.float32(boxes), np.int32(classes), np.array(masks)


def write_voc(folder, splits, seed=0):
    """Writes scenes in the layout of VOC 2012 with a file of their classes; every fourth of `train` is upright.

    Args:
        folder (Path): Gets a folder VOC2012.
        splits (dict[str, int]): Scenes of each split.
        seed (int): What is on them.
    """
    root = folder / "VOC2012"
    rng = np.random.default_rng(seed)
    for split, count in splits.items():
        images = []
        for number in range(count):
            height, width = (96, 64) if split == "train" and number % 4 == 0 else (64, 96)
            image, boxes, classes = scene(rng, height, width)
            corners = [tuple(int(side) + 1 for side in box) for box in boxes]  # 1 is subtracted from all four
            objects = [(SHAPES[kind], False, box) for kind, box in zip(classes, corners)]
            images.append((f"{split}_{number:03d}", image, annotation_with_boxes(height, width, objects)))
        write_images(root, split, images)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in SHAPES))


def write_coco(folder, splits, seed=0):
    """Writes scenes in the layout of COCO 2017; every fourth of `train2017` is upright.

    Args:
        folder (Path): Gets a folder of each split, and `annotations`.
        splits (dict[str, int]): Scenes of each split.
        seed (int): What is on them.
    """
    rng = np.random.default_rng(seed)
    (folder / "annotations").mkdir()
    for split, count in splits.items():
        (folder / split).mkdir()
        images, notes = [], []
        for number in range(count):
            height, width = (96, 64) if split == "train2017" and number % 4 == 0 else (64, 96)
            image, boxes, classes, masks = scene_with_masks(rng, height, width)
            images.append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
            assert cv2.imwrite(str(folder / split / f"{number}.png"), np.ascontiguousarray(image[..., ::-1]))
            for box, kind, mask, counts in zip(boxes.tolist(), classes.tolist(), masks, run_lengths(masks)):
                note = {"id": len(notes) + 1, "image_id": number, "category_id": kind + 1, "iscrowd": 0}
                note |= {"bbox": [*box[:2], box[2] - box[0], box[3] - box[1]], "area": int(mask.sum())}
                notes.append(note | {"segmentation": {"size": [height, width], "counts": counts.decode()}})
        categories = [{"id": number, "name": name} for number, name in enumerate(SHAPES, 1)]
        content = {"images": images, "annotations": notes, "categories": categories}
        (folder / f"annotations/instances_{split}.json").write_text(json.dumps(content))
