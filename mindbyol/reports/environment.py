"""What only the beginning of a run knows: the machine, the arithmetic of the run, and what its images look like."""

import json
import os
import platform
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mindbyol.files import replacing
from mindbyol.version import __version__

_PACKAGES = ("mindspore", "mindcv", "numpy")
_SHOWN = {
    "data": "images",
    "device": "device",
    "processor": "processor",
    "cores": "cores",
    "system": "system",
    "python": "Python",
    "mindbyol": "mindbyol",
    **dict(zip(_PACKAGES, ("MindSpore", "MindCV", "NumPy"))),
    "images_a_step": "images a step",
    "steps_per_epoch": "steps an epoch",
    "compile_seconds": "seconds until the first step was made, compilation and all",
}
_COUNTS = ("images_a_step", "total_steps", "epochs")
_TILE, _GAP, _MOST = 96, 4, 8  # pixels of a side, between tiles; and images that are shown


def write(file, world, plan, source):
    """Notes the environment of a run as JSON; see `report.begin`."""
    noted = {
        "device": f"{world.target} x {world.ranks}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "mindbyol": __version__,
        **{package: _version(package) for package in _PACKAGES},
        "data": source.description,
        "images_a_step": plan.effective_batch,
        "steps_per_epoch": plan.steps_per_epoch,
        "total_steps": plan.total_steps,
        "epochs": plan.epochs,
    }
    _write(file, noted)


def add(file, **facts):
    """Adds to what was noted; nothing where nothing was."""
    noted = read(file)
    if noted:
        _write(file, {**noted, **facts})


def _write(file, noted):
    with replacing(Path(file)) as beside:
        beside.write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")


def read(file):
    """What was noted; empty where nothing was, as by earlier versions, or something else is there."""
    try:
        noted = json.loads(Path(file).read_text(encoding="utf-8"))
        return noted if all(noted[key] > 0 for key in _COUNTS) else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def shown(noted):
    """The facts of an environment that people read, by what they are."""
    return {what: noted[key] for key, what in _SHOWN.items() if noted.get(key) is not None}


def write_views(file, views):
    """Draws the first images of a batch: a row a view, the views of an image below each other.

    Args:
        file (Path): The PNG.
        views (list[ndarray]): uint8, (B, 3, H, W) each.
    """
    count = min(_MOST, len(views[0]))
    sheet = np.full((len(views) * (_TILE + _GAP) - _GAP, count * (_TILE + _GAP) - _GAP, 3), 255, np.uint8)
    for row, images in enumerate(views):
        for column, image in enumerate(images[:count]):
            pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
            how = cv2.INTER_AREA if pixels.shape[0] > _TILE else cv2.INTER_NEAREST
            top, left = row * (_TILE + _GAP), column * (_TILE + _GAP)
            sheet[top : top + _TILE, left : left + _TILE] = cv2.resize(pixels, (_TILE, _TILE), interpolation=how)
    with replacing(Path(file)) as beside:
        Image.fromarray(sheet).save(beside, "PNG")


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor():
    """Its name, from Linux's /proc; what Python calls it elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
