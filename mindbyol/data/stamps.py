"""Scenes with known boxes and masks: photographs of animals, fruit and flowers, cut out, laid on other photographs.

The cut-outs are those of Debian's package tuxpaint-stamps-default, about 190 of seven kinds; backgrounds are crops of
scikit-learn's two sample photographs, without the flower of the second. Of each kind every fourth cut-out is kept for
validation, so that what is scored was not trained on; the backgrounds are crops of the same two photographs.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

STAMPS = Path("/usr/share/tuxpaint/stamps")
PACKAGE = "tuxpaint-stamps-default"
# Class: where its cut-outs are. Folders called `cartoon`, `toys` or `plastic` are left out, and so are drawings.
CLASSES = {
    "bird": "animals/birds",
    "fish": "animals/fish",
    "insect": "animals/insects",
    "mammal": "animals/mammals",
    "fruit": "food/fruit",
    "vegetable": "food/vegetables",
    "flower": "plants/flowers",
}
_LEFT_OUT = {"cartoon", "toys", "plastic", "hedgehog.png"}
_VALIDATION_EVERY = 4
# Left, top, width and height of what is taken of photograph 0 (a pagoda) and 1 (leaves beside a flower), and how often.
_BACKGROUNDS = ((0, 0, 0, 640, 427), (1, 0, 0, 165, 427), (1, 440, 0, 200, 370))
_BACKGROUND_SHARES = (0.6, 0.2, 0.2)
_MOST_OBJECTS = 4
_CROWD_EVERY, _CROWD = 8, (6, 10)  # scenes; cut-outs of a crowd, from and to
_SIDES, _CROWD_SIDES = (0.2, 0.6), (0.12, 0.22)  # longer side of a cut-out, by the shorter side of the scene
_LARGEST_ZOOM = 2.0
_LEAST_VISIBLE, _DIFFICULT_BELOW = 0.2, 0.5  # shares of a cut-out's pixels
_LEAST_PIXELS = 16


class SceneObject(NamedTuple):
    """An object as far as it can be seen.

    Attributes:
        label (int): Its class, from 0, in the order of `CLASSES`.
        mask (numpy.ndarray): bool (H, W): the pixels that show it.
        box (tuple[int, int, int, int]): x1, y1, x2, y2 around the mask; x2 and y2 are those of the pixel after it.
        occluded, truncated (bool): Another object covers some of it; some of it lies outside of the image.
        difficult (bool): Less than half of it can be seen.
        crowd (bool): It is a group of objects of one class.
    """

    label: int
    mask: np.ndarray
    box: tuple
    occluded: bool
    truncated: bool
    difficult: bool
    crowd: bool


class Scene(NamedTuple):
    """A composed image.

    Attributes:
        image (numpy.ndarray): uint8 (H, W, 3), RGB.
        objects (list[SceneObject]): The farthest first.
        mixed (numpy.ndarray): bool (H, W): pixels at borders, where colours of two objects are mixed.
    """

    image: np.ndarray
    objects: list
    mixed: np.ndarray


def find_cutouts(folder=STAMPS):
    """Finds the cut-outs.

    Args:
        folder (Path): With the categories of Tux Paint's stamps.

    Returns:
        dict[str, list[list[Path]]]: For "train" and "val", the PNG files of each class.

    Raises:
        FileNotFoundError: Classes have none; the message names the Debian package.
    """
    found = {"train": [], "val": []}
    for name, category in CLASSES.items():
        files = sorted((folder / category).rglob("*.png"))
        files = [file for file in files if not _LEFT_OUT & set(file.relative_to(folder).parts)]
        if len(files) < _VALIDATION_EVERY:
            raise FileNotFoundError(
                f"{folder / category} holds {len(files)} cut-outs of the class {name}, and {_VALIDATION_EVERY} are "
                f"needed; install them with `apt install {PACKAGE}`, or name their folder with --stamps_dir"
            )
        for split, chosen in (("val", True), ("train", False)):
            found[split].append([f for place, f in enumerate(files) if (place % _VALIDATION_EVERY == 3) == chosen])
    return found


def compose(cutouts, size, seed, number):
    """Composes a scene, a function of its arguments.

    Args:
        cutouts (list[list[Path]]): PNG files with an alpha channel, of each class.
        size (int): Longer side in pixels; the shorter one is three quarters of it. Every fourth scene stands upright.
        seed (int, or sequence[int]): Of all scenes.
        number (int): Of this one, from 0; every eighth has a crowd.

    Returns:
        Scene: With at least one object that is neither difficult nor a crowd.

    Raises:
        ValueError: A cut-out is no picture with an alpha channel.
    """
    rng = np.random.default_rng([*np.atleast_1d(seed), number])
    height, width = (size, size * 3 // 4) if number % 4 == 3 else (size * 3 // 4, size)
    while True:
        canvas = _Canvas(_background(height, width, rng))
        if number % _CROWD_EVERY == _CROWD_EVERY - 1:
            _add_crowd(canvas, cutouts, rng)
        for _ in range(rng.integers(1, _MOST_OBJECTS + 1)):
            label = rng.integers(len(cutouts))
            cutout = _cutout(cutouts[label], min(height, width), _SIDES, rng)
            # a point of the cut-out, not far from its middle, comes to lie anywhere in the image
            left, top = rng.uniform(0, 1, 2) * (width, height) - rng.uniform(0.25, 0.75, 2) * cutout.shape[1::-1]
            canvas.add(label, [(cutout, int(left), int(top))])
        scene = canvas.scene()
        if any(not (one.difficult or one.crowd) for one in scene.objects):
            return scene


def _add_crowd(canvas, cutouts, rng):
    height, width = canvas.image.shape[:2]
    label, short = rng.integers(len(cutouts)), min(height, width)
    centre = rng.uniform(0.25, 0.75, 2) * (width, height)
    parts = []
    for _ in range(rng.integers(_CROWD[0], _CROWD[1] + 1)):
        cutout = _cutout(cutouts[label], short, _CROWD_SIDES, rng)
        left, top = centre + rng.uniform(-0.25, 0.25, 2) * short - np.array(cutout.shape[1::-1]) / 2
        parts.append((cutout, int(left), int(top)))
    canvas.add(label, parts, crowd=True)


def _cutout(files, short, sides, rng):
    """One of some cut-outs, resized and perhaps mirrored: float32 (h, w, 4), RGB times alpha, and alpha, 0 to 1."""
    file = files[rng.integers(len(files))]
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[2:] != (4,) or not pixels[..., 3].any():
        raise ValueError(f"{file} is no picture with an alpha channel, so nothing can be cut out; remove it")
    pixels = pixels[..., [2, 1, 0, 3]].astype(np.float32) / np.iinfo(pixels.dtype).max
    pixels[..., :3] *= pixels[..., 3:]
    rows, columns = (np.flatnonzero(pixels[..., 3].max(axis) > 0) for axis in (1, 0))
    pixels = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    zoom = min(short * rng.uniform(*sides) / max(pixels.shape[:2]), _LARGEST_ZOOM)
    size = tuple(max(1, round(side * zoom)) for side in pixels.shape[1::-1])
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def _background(height, width, rng):
    """A crop of a photograph, perhaps mirrored, its brightness and colours changed a little."""
    photo, left, top, across, down = _BACKGROUNDS[rng.choice(len(_BACKGROUNDS), p=_BACKGROUND_SHARES)]
    pixels = load_sample_images().images[photo][top : top + down, left : left + across]
    largest = min(down / height, across / width)
    zoom = largest * rng.uniform(0.4, 1)
    crop_height, crop_width = max(1, int(height * zoom)), max(1, int(width * zoom))
    top, left = rng.integers(down - crop_height + 1), rng.integers(across - crop_width + 1)
    crop = pixels[top : top + crop_height, left : left + crop_width][:, :: 1 if rng.random() < 0.5 else -1]
    image = cv2.resize(np.ascontiguousarray(crop), (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return np.clip(image * rng.uniform(0.8, 1.2, 3) + rng.uniform(-15, 15), 0, 255).astype(np.float32) / 255


class _Canvas:
    """What is composed so far: pixels, and whose they are."""

    def __init__(self, image):
        self.image = image
        self._owner = np.full(image.shape[:2], -1)
        self._mixed = np.zeros(image.shape[:2], bool)
        self._added = []  # label, pixels of it in and outside of the image, pixels of it in the image, whether a crowd

    def add(self, label, parts, crowd=False):
        """Lays the parts of an object on what is there, unless too little of it, or of another one, would be seen."""
        image, owner, mixed = self.image.copy(), self._owner.copy(), self._mixed.copy()
        number, whole, shape = len(self._added), 0, np.zeros(owner.shape, bool)
        for pixels, left, top in parts:
            whole += int((pixels[..., 3] >= 0.5).sum())
            x1, y1 = max(left, 0), max(top, 0)
            part = pixels[y1 - top : max(owner.shape[0] - top, 0), x1 - left : max(owner.shape[1] - left, 0)]
            if not part.size:
                continue
            alpha, here = part[..., 3], (slice(y1, y1 + part.shape[0]), slice(x1, x1 + part.shape[1]))
            image[here] = image[here] * (1 - alpha[..., None]) + part[..., :3]
            owner[here][alpha >= 0.5] = number
            shape[here][alpha >= 0.5] = True
            mixed[here] = np.where(alpha >= 0.9, False, mixed[here] | (alpha > 0.1))
        added = [*self._added, (label, whole if not crowd else int(shape.sum()), int(shape.sum()), crowd)]
        seen = np.bincount(owner[owner >= 0], minlength=len(added))
        if all(count >= max(_LEAST_PIXELS, _LEAST_VISIBLE * one[1]) for count, one in zip(seen, added)):
            self.image, self._owner, self._mixed, self._added = image, owner, mixed, added

    def scene(self):
        objects = []
        for number, (label, whole, inside, crowd) in enumerate(self._added):
            mask = self._owner == number
            rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            seen = int(mask.sum())
            difficult = seen < _DIFFICULT_BELOW * whole
            objects.append(SceneObject(int(label), mask, box, seen < inside, inside < whole, difficult, crowd))
        return Scene((self.image * 255 + 0.5).clip(0, 255).astype(np.uint8), objects, self._mixed)
