"""Detection from train.py to validate.py, on small composed scenes."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mindbyol import checkpoint
from tests.detection.scenes import write_coco, write_voc
from tests.tasks import tiny

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
    write_voc(folder, {"train": 16, "val": 4, "test": 8})
    return folder


def command(folder, data, **recipe):
    """Arguments after the interpreter; a key that is None is left out."""
    flags = [text for key, value in {**RECIPE, "data_dir": data, **recipe}.items() for text in (f"--{key}", str(value))]
    flags = [text for flag in flags for text in (flag.split() if " " in flag and "/" not in flag else [flag])]
    return [tiny.TRAIN, "--ckpt_save_dir", str(folder), *flags]


def run(arguments, code=0):
    process = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.returncode == code, process.stdout
    return process.stdout


def arrays(folder, steps):
    (file,) = Path(folder).glob(f"tiny_resnet-*_{steps}.ckpt")
    return checkpoint.read(file)[0]


def start_ranks(folder, data, ranks=2, **recipe):
    """Under msrun; worker logs go beside the folder."""
    launcher = ["msrun", f"--worker_num={ranks}", f"--local_worker_num={ranks}", f"--master_port={tiny.free_port()}"]
    launcher += [f"--log_dir={folder}_log", "--join=True", "--cluster_time_out=120"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*launcher, *command(folder, data, **recipe)], **output, cwd=tiny.ROOT, env=environment)


EVERY_STEP = {"ckpt_save_steps": 1, "keep_checkpoint_max": 9}


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("straight") / "ckpt"
    run(command(folder, data, **EVERY_STEP))
    return folder


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(straight, data, tmp_path):
    folder = tmp_path / "ckpt"
    arguments = command(folder, data, **EVERY_STEP)
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    for line in process.stdout:
        if "batch: [3/4]" in line:
            break
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not list(folder.glob("*-*_4.ckpt"))
    assert "resuming from" in run([*arguments, "--resume"])
    expected, got = arrays(straight, 4), arrays(folder, 4)
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    lines = [[[line[name] for name in NAMES] for line in tiny.metrics(of_run)] for of_run in (straight, folder)]
    assert lines[0] == lines[1] and len(lines[0]) == 4


@pytest.mark.slow
def test_half_precision_changes_little(straight, data, tmp_path):
    """Losses of the first step; later ones differ by which regions are drawn."""
    half = {"amp_level": "O2", "loss_scale_type": "dynamic", "loss_scale": 1024, "train_steps": 1}
    run(command(tmp_path / "half", data, **half))
    (line,), expected = tiny.metrics(tmp_path / "half"), tiny.metrics(straight)[0]
    assert line["overflows"] == 0
    for name in ("loss", "loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"):
        assert line[name] == pytest.approx(expected[name], rel=0.02), name


@pytest.mark.slow
def test_two_ranks_equal_one(straight, data, tmp_path):
    folder = tmp_path / "two"
    process = start_ranks(folder, data, batch_size=2, **EVERY_STEP)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    for two, one in zip(tiny.metrics(folder), tiny.metrics(straight)):
        for name in NAMES:
            assert two[name] == pytest.approx(one[name], rel=2e-3), (two["step"], name)
    expected, got = arrays(straight, 1), arrays(folder, 1)  # later, rounding decides on which side of a limit a box is
    for name, array in expected.items():
        assert np.linalg.norm(got[name] - array) <= 1e-4 * max(np.linalg.norm(array), 1e-3), name


def test_a_detector_is_trained_and_scored(data, tmp_path):
    folder = tmp_path / "ckpt"
    output = run(command(folder, data, train_split="2012_test", val_split="2012_val", train_steps=1, batch_size=8))
    assert "Training data: 8 of 8 images" in output and "objects of 3 classes" in output
    (line,) = tiny.metrics(folder)
    assert line["loss"] == pytest.approx(
        sum(value for name, value in line.items() if name.startswith("loss_")), rel=1e-4
    )
    assert "rpn_cls: " in output and "box: " in output
    (file,) = folder.glob("tiny_resnet-1_1.ckpt")
    card = checkpoint.read(file)[1]
    assert card.more["heads"] == ["rpn", "roi"] and card.more["detection"]["anchor_scales"] == [1, 1.5, 2]

    asked = {"visualize": 2, "pictures_dir": tmp_path / "pictures", "detections_dir": tmp_path / "found"}
    flags = [text for key, value in asked.items() for text in (f"--{key}", str(value))]
    config = ["--config", str(folder / "config.yaml"), "--ckpt_path", str(file)]
    output = run([tiny.VALIDATE, *config, *flags])
    assert re.search(r"ap50 +\d+\.\d\d", output) and "ap50_triangle" in output
    assert sorted(one.name for one in (tmp_path / "pictures").iterdir()) == ["val_000.png", "val_001.png"]
    names = sorted(one.name for one in (tmp_path / "found").iterdir())
    assert names == [f"comp4_det_test_{name}.txt" for name in ("disc", "square", "triangle")]


@pytest.mark.slow
def test_masks_are_trained_and_scored(tmp_path):
    pytest.importorskip("pycocotools", reason="requirements-dense.txt is not installed")
    data = tmp_path / "coco"
    data.mkdir()
    write_coco(data, {"train2017": 8, "val2017": 3})
    folder = tmp_path / "ckpt"
    of_masks = {"dataset": "coco", "train_split": "train2017", "val_split": "val2017", "detector": "mask_rcnn_fpn"}
    run(command(folder, data, **of_masks, pyramid_channels=8, anchor_scales="4", train_steps=2, val_while_train=True))
    *_, line = [line for line in tiny.metrics(folder) if "loss_mask" in line]
    assert line["loss"] == pytest.approx(
        sum(value for name, value in line.items() if name.startswith("loss_")), rel=1e-4
    )
    (file,) = folder.glob("tiny_resnet-*_2.ckpt")
    card = checkpoint.read(file)[1]
    assert card.more["heads"] == ["fpn", "rpn", "roi", "mask"] and card.more["detection"]["pyramid_channels"] == 8

    asked = {"visualize": 2, "pictures_dir": tmp_path / "pictures", "detections_dir": tmp_path / "found"}
    flags = [text for key, value in asked.items() for text in (f"--{key}", str(value))]
    config = ["--config", str(folder / "config.yaml"), "--ckpt_path", str(file)]
    output = run([tiny.VALIDATE, *config, *flags])
    assert re.search(r"bbox_ap50 +\d+\.\d\d", output) and re.search(r"segm_ap50 +\d+\.\d\d", output)
    assert sorted(one.name for one in (tmp_path / "found").iterdir()) == ["bbox.json", "segm.json"]
    assert len(list((tmp_path / "pictures").iterdir())) == 2
