"""What a pretrained start is worth, measured: on the digits with five labels a class, and STL10's experiment whole."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mindbyol.commands import few_labels, stl10_experiment
from mindbyol.experiments import curve

ROOT = Path(__file__).parents[2]
DIGITS = str(ROOT / "configs/finetune/finetune_digits_cpu.yaml")
BYOL_DIGITS = str(ROOT / "configs/byol/byol_resnet18_digits_cpu.yaml")


@pytest.mark.slow
def test_with_five_labels_a_class_byols_start_beats_none_for_every_seed(tmp_path):
    command = [sys.executable, "train.py", "--config", BYOL_DIGITS, "--ckpt_save_dir", str(tmp_path / "byol")]
    subprocess.run(command, cwd=ROOT, check=True)
    (backbone,) = (tmp_path / "byol").glob("resnet18-40_*_backbone.ckpt")
    seeds = ["--seeds", "0", "1", "2", "--output", str(tmp_path / "runs")]
    start = ["--start", f"BYOL={backbone}", "--start", "nothing"]
    few_labels.main(["--config", DIGITS, "--labels", "5:60", *start, *seeds])
    byol, nothing = (
        [curve(tmp_path / f"runs/{name}-5-{seed}")[-1]["top1"] for seed in range(3)] for name in ("BYOL", "nothing")
    )
    assert all(with_byol > without for with_byol, without in zip(byol, nothing))
    assert (tmp_path / "runs/few_labels.md").exists() and (tmp_path / "runs/few_labels.png").exists()


@pytest.fixture
def stl10(tmp_path):
    """STL10's binary layout with a few images of noise around a brightness that tells the class."""
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 20), ("unlabeled", 64)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = random.integers(0, 30, (count, 3, 96, 96)) + 22 * labels[:, None, None, None]
        images.astype(np.uint8).tofile(folder / f"{split}_X.bin")
        if split != "unlabeled":
            (labels + 1).tofile(folder / f"{split}_y.bin")
    return tmp_path


SMALL = """
image_resize: 16
stages: 1
batch_size: 16
num_parallel_workers: 1
worker_type: thread
"""


@pytest.mark.slow
def test_stl10s_experiment_from_its_files_to_table_and_plot(stl10, tmp_path, capsys):
    configs = {}
    for task, name in (("byol", "byol_resnet18_stl10"), ("finetune", "finetune_resnet18_stl10")):
        configs[task] = tmp_path / f"{task}.yaml"
        more = "warmup_epochs: 0\nprojector_hidden_size: 16\n" if task == "byol" else "epoch_size: 2\n"
        configs[task].write_text(f"base: {ROOT}/configs/{task}/{name}.yaml\ntask: {task}\n{SMALL}{more}")
    words = ["--data_dir", str(stl10), "--byol_config", str(configs["byol"]), "--byol_epochs", "1", "--seeds", "0", "1"]
    words += ["--finetune_config", str(configs["finetune"]), "--output", str(tmp_path / "runs")]
    stl10_experiment.main(words)
    text = (tmp_path / "runs/stl10.md").read_text()
    assert "ResNet-18 from nothing, 2 seeds" in text and "| 84.58 |" in text and "| 87.61 |" in text
    assert text.strip() in capsys.readouterr().out
    assert (tmp_path / "runs/stl10.png").read_bytes()[:4] == b"\x89PNG"
    logs = {run: (tmp_path / f"runs/{run}/rank0.log").read_text() for run in ("without-0", "with-0", "byol-0")}
    assert "Starting from: nothing" in logs["without-0"] and "byol-0/resnet18-1_4_backbone" in logs["with-0"]
    assert "Training data: 64 images, no labels, stl10 unlabeled" in logs["byol-0"]
    stl10_experiment.main(words)  # everything is finished already
    assert (tmp_path / "runs/stl10.md").read_text() == text
