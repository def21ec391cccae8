"""Detection from train.py to validate.py, on small composed scenes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mindbyol import checkpoint
from tests.detection.scenes import write_voc
from tests.tasks import tiny

TRAIN = str(Path(__file__).parent / "tiny_detection.py")
RECIPE = {
    "task": "detection",
    "model": "tiny_resnet",
    "padding": "torch",
    "train_split": "2012_train",
    "val_split": "2012_val",
    "batch_size": 4,
    "image_resize": 64,
    "long_side": 96,
    "train_short_sides": "48 64",
    "max_objects": 4,
    "anchor_scales": "1 1.5 2",
    "rpn_samples": 16,
    "train_candidates": 60,
    "train_proposals": 20,
    "test_candidates": 60,
    "test_proposals": 20,
    "roi_samples": 8,
    "train_steps": 4,
    "log_interval": 1,
    "val_while_train": False,
    "num_parallel_workers": 1,
    "report": False,
}
NAMES = ("loss", "loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "acc", "positives", "lr")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voc")
    write_voc(folder, {"train": 16, "val": 6})
    return folder


def command(folder, data, **recipe):
    """Arguments after the interpreter; a key that is None is left out."""
    flags = [text for key, value in {**RECIPE, "data_dir": data, **recipe}.items() for text in (f"--{key}", str(value))]
    flags = [text for flag in flags for text in (flag.split() if " " in flag and "/" not in flag else [flag])]
    return [TRAIN, "train", "--ckpt_save_dir", str(folder), *flags]


def run(arguments, code=0):
    process = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.returncode == code, process.stdout
    return process.stdout


def arrays(folder, steps):
    (file,) = Path(folder).glob(f"tiny_resnet-*_{steps}.ckpt")
    return checkpoint.read(file)[0]
