"""Whole commands, as a user types them, on real images."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

import mindcv

from mindbyol import checkpoint
from mindbyol.commands import train, validate
from mindbyol.weights import read_weights
from mindbyol.weights.export import export

ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / "configs/byol/byol_resnet18_digits_cpu.yaml")
SMALL = [
    "--num_samples",
    "64",
    "--batch_size",
    "16",
    "--base_lr",
    "0.5",
    "--epoch_size",
    "2",
    "--warmup_epochs",
    "0",
]
SMALL += ["--val_while_train", "False"]
SMALL += ["--projector_hidden_size", "32", "--predictor_hidden_size", "32", "--projection_size", "16"]


def command(*argv, check=True, **environ):
    result = subprocess.run(
        [sys.executable, *map(str, argv)], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environ}
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A short run on digits: (folder, what it printed)."""
    folder = tmp_path_factory.mktemp("run") / "ckpt"
    return (
        folder,
        command("train.py", "-c", RECIPE, *SMALL, "--ckpt_save_dir", folder, "--ckpt_save_interval", "1").stdout,
    )


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A nested folder of 40 unlabelled JPEGs of several sizes, cut from two photographs."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for number in range(40):
        image = load_sample_images().images[number % 2]
        height, width = rng.integers(60, 200, 2)
        top, left = rng.integers(0, 200, 2)
        path = root / f"album {number % 3}" / "deep" / f"{number}.{'JPG' if number % 2 else 'jpeg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[top : top + height, left : left + width]).save(path)
    return root


def test_what_a_run_says(digits_run):
    _, output = digits_run
    assert "Essential Experiment Configurations" in output
    assert "Effective batch: 16" in output and "Number of steps: 8 = 2 epochs of 4" in output
    assert "Learning rate: 0.03125 = 0.5 * 16 / 256" in output
    assert re.search(
        r"Epoch: \[2/2\], batch: \[4/4\], loss: \d+\.\d+, std: 0\.\d+, probe: [\d.]+%, lr: .*eta: .*img/s: ", output
    )
    assert "next: python validate.py --config" in output


def test_what_a_run_leaves(digits_run):
    folder, _ = digits_run
    files = {"config.yaml", "environment.json", "metrics.jsonl", "rank0.log", "report.html", "views.png"}
    files |= {f"resnet18-{epoch}_{4 * epoch}{kind}.ckpt" for epoch in (1, 2) for kind in ("", "_backbone")}
    assert {file.name for file in folder.iterdir()} == files
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [4, 8]
    assert records[0]["tau"] == pytest.approx(1 - 0.02 * (np.cos(np.pi * 3 / 8) + 1) / 2, abs=1e-6)
    arrays, card = checkpoint.read(folder / "resnet18-2_8.ckpt")
    assert {name.split(".")[0] for name in arrays} >= {
        "online",
        "predictor",
        "target",
        "probe",
        "moments",
        "global_step",
    }
    assert (card.epoch, card.step, card.model) == (2, 8, "resnet18") and arrays["global_step"] == 8
    assert not [name for name in os.listdir(ROOT) if re.match(r"rank_\d|kernel_meta|rewritten", name)]


def test_mindcv_loads_the_backbone(digits_run):
    folder, _ = digits_run
    path = str(folder / "resnet18-2_8_backbone.ckpt")
    model = mindcv.create_model("resnet18", checkpoint_path=path)
    arrays, _ = checkpoint.read(folder / "resnet18-2_8.ckpt")
    for parameter in model.get_parameters():
        if not parameter.name.startswith(("classifier", "layer3", "layer4")):  # the recipe keeps two stages
            np.testing.assert_array_equal(parameter.asnumpy(), arrays[f"online.backbone.{parameter.name}"])


def test_full_and_backbone_checkpoints_score_the_same(digits_run, tmp_path):
    folder, _ = digits_run
    export(read_weights(folder / "resnet18-2_8.ckpt"), tmp_path / "theirs.pth", "torchvision")
    files = [folder / "resnet18-2_8.ckpt", folder / "resnet18-2_8_backbone.ckpt", tmp_path / "theirs.pth"]
    for file in files:
        argv = ["-c", RECIPE, "--num_samples", "150", "--ckpt_path", str(file)]
        validate.main([*argv, "--results", str(tmp_path / "r.jsonl")])
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    scores = [{r["score"]: r["value"] for r in records if r["ckpt_path"] == str(file)} for file in files]
    assert scores[0] == scores[1] == scores[2]
    assert set(scores[0]) == {f"knn{k}_top{t}" for k in (10, 20, 100) for t in (1, 5)}  # not 200: 150 images
    assert len({record["weights"] for record in records}) == 1 and records[0]["task"] == "knn"
    assert records[0]["images"] == 355 and records[0]["data"]["bank"].startswith("150 of 1442 images")
    assert records[0]["settings"]["knn_temperature"] == 0.07 and records[0]["card"]["step"] == 8


def test_the_untrained_backbone_is_the_one_that_training_starts_from(digits_run, tmp_path):
    argv = ["-c", RECIPE, *SMALL, "--ckpt_save_dir", str(tmp_path), "--epoch_size", "1", "--lr", "0"]
    train.main([*argv, "--num_samples", "16"])
    argv = ["-c", RECIPE, "--baselines", "True", "--ckpt_path", str(tmp_path / "resnet18-1_1.ckpt")]
    validate.main([*argv, "--results", str(tmp_path / "scores.jsonl")])
    records = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    scores = {(record["features"], record["score"]): record["value"] for record in records}
    # A learning rate of 0 moves no weights; one batch moves the running statistics a little.
    assert scores["trained", "knn20_top1"] == pytest.approx(scores["untrained", "knn20_top1"], abs=6)
    raw = load_digits()
    assert len(raw.images) == 1797 and scores["pixels", "knn10_top1"] > 95


def test_a_folder_of_unlabelled_photographs_just_works(photographs, tmp_path):
    argv = ["--model", "resnet18", "--dataset", "folder", "--data_dir", photographs, "--ckpt_save_dir", tmp_path]
    output = command("train.py", *argv, *SMALL[2:], "--image_resize", "32", "--stages", "2").stdout
    assert "Number of classes: no probe, so none" in output and "probe:" not in output
    assert "probe_accuracy" not in (tmp_path / "metrics.jsonl").read_text()
    assert (tmp_path / "resnet18-2_4_backbone.ckpt").exists()


def test_the_same_seed_gives_the_same_run(digits_run, tmp_path):
    folder, _ = digits_run
    train.main(["-c", RECIPE, *SMALL, "--ckpt_save_dir", str(tmp_path), "--num_parallel_workers", "1"])
    first, second = (checkpoint.read(run / "resnet18-2_8.ckpt")[0] for run in (folder, tmp_path))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_ckpt_path_starts_from_weights(digits_run, tmp_path, capsys):
    folder, _ = digits_run
    argv = ["-c", RECIPE, *SMALL, "--ckpt_save_dir", str(tmp_path), "--epoch_size", "1", "--lr", "0"]
    train.main([*argv, "--ckpt_path", str(folder / "resnet18-2_8_backbone.ckpt")])
    assert "online.backbone 50/50 loaded, 0 missing, 0 unexpected" in capsys.readouterr().out
    first = checkpoint.read(folder / "resnet18-2_8_backbone.ckpt")[0]
    second = checkpoint.read(tmp_path / "resnet18-1_4_backbone.ckpt")[0]
    for name in first:
        if "moving" not in name:
            np.testing.assert_array_equal(first[name], second[name])


def test_pretrained_from_starts_from_another_projects_file(digits_run, tmp_path, capsys):
    folder, _ = digits_run
    theirs = tmp_path / "theirs.pth"
    export(read_weights(folder / "resnet18-2_8.ckpt"), theirs, "torchvision", heads=True)
    argv = ["-c", RECIPE, *SMALL, "--ckpt_save_dir", str(tmp_path / "run"), "--epoch_size", "1", "--lr", "0"]
    train.main([*argv, "--pretrained_from", str(theirs), "--base_tau", "1"])
    output = capsys.readouterr().out
    assert "online.backbone 50/50 loaded" in output and "online.projector 7/7 loaded" in output
    assert "predictor is not in the file, it stays as initialised" in output
    first = checkpoint.read(folder / "resnet18-2_8.ckpt")[0]
    second = checkpoint.read(tmp_path / "run" / "resnet18-1_4.ckpt")[0]
    for name in first:
        if name.startswith("online.") and "moving" not in name:
            np.testing.assert_array_equal(first[name], second[name])
            if "backbone" in name:  # without a target in the file, it starts as a copy
                np.testing.assert_array_equal(first[name], second[name.replace("online", "target")])


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    argv = ["-c", RECIPE, *SMALL, "--ckpt_save_dir", tmp_path, "--opt", "sgd", "--lr", "1e30", "--log_interval", "1"]
    result = command("train.py", *argv, check=False)
    assert result.returncode == 1 and re.search(r"the loss is (nan|inf) at step \d", result.stdout)
    assert not list(tmp_path.glob("*.ckpt"))
