"""One epoch of each family of backbones, through the commands: trained, inspected, exported, embedded."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mindbyol import checkpoint
from mindbyol.weights.describe import describe

ROOT = Path(__file__).parents[2]
# The smallest of each family, the smallest images it takes, and why ONNX does not hold it, as docs/weights.md says.
FAMILIES = {
    "resnet18": (32, None),
    "mobilenet_v2_035_96": (32, None),
    "mobilenet_v3_small_075": (32, "HSwish"),
    "densenet121": (32, None),
    "efficientnet_b0": (32, "InplaceAddExt"),
    "convnext_tiny": (32, "does not run with every batch size"),
    "swin_tiny": (224, "is no ONNX"),
    "vit_b_32_224": (224, "Unstack"),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(8):
        coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(coarse, (48, 48)))
    return folder


def run(script, *arguments, code=0):
    command = [sys.executable, ROOT / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def digests(path):
    return [line for line in describe(path) if line.startswith("backbone: ")]


@pytest.mark.slow
@pytest.mark.parametrize("model", FAMILIES)
def test_from_images_to_others(model, images, tmp_path):
    size, no_onnx = FAMILIES[model]
    recipe = ["--model", model, "--dataset", "folder", "--data_dir", images, "--image_resize", size]
    recipe += ["--batch_size", 4, "--epoch_size", 1, "--warmup_epochs", 0, "--num_parallel_workers", 1]
    recipe += ["--projector_hidden_size", 16, "--predictor_hidden_size", 16, "--projection_size", 8]
    run("train.py", *recipe, "--lr", 0.01, "--ckpt_save_dir", tmp_path / "run")
    full, alone = tmp_path / "run" / f"{model}-1_2.ckpt", tmp_path / "run" / f"{model}-1_2_backbone.ckpt"
    lines = run("scripts/inspect_checkpoint.py", full).splitlines()
    count = len(checkpoint.read(alone)[0])
    assert f"backbone {count}/{count} loaded, 0 missing, 0 unexpected" in lines
    assert f"target backbone {count}/{count} loaded, 0 missing, 0 unexpected" in lines

    files = {kind: tmp_path / f"out{suffix}" for kind, suffix in (("mindcv", ".ckpt"), ("mindir", ".mindir"))}
    assert "features in MindCV agree" in run("scripts/export.py", full, "--format", "mindcv", "-o", files["mindcv"])
    run("scripts/export.py", full, "--format", "mindir", "-o", files["mindir"])
    assert checkpoint.read(alone)[0].keys() == checkpoint.read(files["mindcv"])[0].keys()
    for path in (alone, *files.values()):
        assert digests(path) == digests(full), path

    pytest.importorskip("onnx", exc_type=ImportError)
    output = run("scripts/export.py", full, "--format", "onnx", "-o", tmp_path / "out.onnx", code=1 if no_onnx else 0)
    errors = [line for line in output.splitlines() if line.startswith("error: --format onnx: ")]
    assert (not errors) if no_onnx is None else (len(errors) == 1 and no_onnx in errors[0]), output
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        ["run", "out.ckpt", "out.mindir"] + ([] if no_onnx else ["out.onnx"])
    )

    run("scripts/embed.py", "--ckpt_path", full, "--data_dir", images, "-o", tmp_path / "features.npz")
    features = np.load(tmp_path / "features.npz")["features"]
    assert features.shape[0] == 8 and np.isfinite(features).all() and features.std(0).max() > 0
