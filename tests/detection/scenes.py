"""Small composed scenes: squares, discs and triangles of their own colours on noise, with their boxes."""

import numpy as np

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
    image = rng.integers(90, 140, (height, width, 3))
    boxes, classes = [], []
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
    return image.clip(0, 255).astype(np.uint8), np.float32(boxes), np.int32(classes)


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
