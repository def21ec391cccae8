"""What a run of BYOL says of itself while it trains."""

import math

import numpy as np
import pytest

from mindbyol import checkpoint
from tests.tasks import tiny, tiny_train
from tests.training.test_event_files import curves

WATCHED = {"val_while_train": True, "val_interval": 2, "knn_samples": 100, "log_interval": 3}
WATCHED.update(tensorboard=True, gradient_norm=True, epoch_size=3, ckpt_save_steps=4)  # 15 steps


def train(folder, **recipe):
    tiny_train.main(tiny.arguments(folder, **recipe)[1:])


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched") / "ckpt"
    train(folder, **WATCHED)
    return folder


def test_metrics_have_all_there_is_to_watch(watched):
    lines = [line for line in tiny.metrics(watched) if "loss" in line]
    scores = [line for line in tiny.metrics(watched) if "loss" not in line]
    assert [line["step"] for line in lines] == [3, 5, 6, 9, 10, 12, 15]
    names = {"epoch", "step", "loss", "byol_loss", "projection_std", "probe_loss", "probe_accuracy", "tau", "lr"}
    names |= {"gradient_norm", "update_norm", "target_distance", "images_per_second", "data_wait_share", "eta_seconds"}
    for line in lines:
        assert line.keys() == names
        assert min(line["gradient_norm"], line["update_norm"], line["target_distance"]) > 0
        assert all(math.isfinite(value) for value in line.values())
    assert [(line["epoch"], line["step"]) for line in scores] == [(2, 10), (3, 15)]
    assert all(line.keys() == {"epoch", "step", "val_knn20_top1"} for line in scores)
    assert "100 of 355 images" in (watched / "rank0.log").read_text()
    assert not list(watched.glob("*_best.ckpt"))  # BYOL ends with its last weights


def test_watching_changes_no_result(watched, tmp_path):
    train(tmp_path, epoch_size=3, log_interval=100)
    expected, _ = checkpoint.read(watched / "tiny-3_15.ckpt")
    got, _ = checkpoint.read(tmp_path / "tiny-3_15.ckpt")
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    assert not [line for line in tiny.metrics(tmp_path) if "val_knn20_top1" in line]
    assert not (tmp_path / "tensorboard").exists()


def test_tensorboard_has_each_point_once_when_a_run_goes_on(watched):
    kept = ("byol_loss", "projection_std", "gradient_norm", "update_norm", "target_distance", "val_knn20_top1")
    straight = curves(watched)
    for name in kept:
        points = [(line["step"], line[name]) for line in tiny.metrics(watched) if name in line]
        assert straight[name] == [(step, pytest.approx(value)) for step, value in points]
    for file in watched.glob("tiny-*_15*.ckpt"):
        file.unlink()
    train(watched, resume=True, **WATCHED)
    again = curves(watched)
    assert {name: again[name] for name in kept} == {name: straight[name] for name in kept}


def test_without_labels_there_is_no_knn_and_a_line_says_so(tmp_path, capsys):
    with pytest.raises(SystemExit, match="val_while_train: no kNN while training: .*no labels to score with"):
        train(tmp_path / "asked", dataset="folder", data_dir=tiny.ROOT / "docs", num_samples=None, val_while_train=True)
    train(tmp_path, val_while_train=None, val_split="none", epoch_size=1, num_samples=32)
    assert "kNN while training: none: " in capsys.readouterr().out
