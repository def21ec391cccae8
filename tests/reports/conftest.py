"""The folder of a small run, as train.py leaves it."""

import json

import pytest
import yaml

CONFIG = {"task": "byol", "model": "resnet18", "dataset": "folder", "projection_size": 16, "base_lr": 0.3, "seed": 1}
NOTED = {
    "images_a_step": 32,
    "total_steps": 8,
    "epochs": 2,
    "steps_per_epoch": 4,
    "device": "CPU x 1",
    "data": "9 cats",
}


def line(step, **more):
    """A line of metrics.jsonl; an epoch has four steps."""
    epoch = (step - 1) // 4 + 1
    byol = {"loss": 4.0 / step, "byol_loss": 2.0 / step, "projection_std": 0.2, "probe_accuracy": 0.5, "tau": 0.99}
    return {"epoch": epoch, "step": step, **byol, "lr": 0.1, "images_per_second": 64.0, "eta_seconds": 1, **more}


def write_run(folder, lines, config=CONFIG, noted=NOTED):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "environment.json").write_text(json.dumps(noted))
    return folder


@pytest.fixture
def run(tmp_path):
    """Finished after two epochs; a score follows each."""
    lines = [line(2), line(4), {"epoch": 1, "step": 4, "val_knn20_top1": 60.0}]
    lines += [line(6), line(8), {"epoch": 2, "step": 8, "val_knn20_top1": 70.5}]
    return write_run(tmp_path / "photos", lines)
