"""What a user can get wrong: one clear line, before any training."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mindbyol import checkpoint
from mindbyol.commands import train, validate
from mindbyol.data import create_source
from mindbyol.data.mindrecord import write_split
from mindbyol.model_card import Card
from mindbyol.training import plan

RECIPE = str(Path(__file__).parents[2] / "configs/byol/byol_resnet18_digits_cpu.yaml")


def error_of(main, *argv):
    with pytest.raises(SystemExit) as error:
        main([str(argument) for argument in argv])
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def photo_folder(tmp_path):
    folder = tmp_path / "data" / "train" / "cat"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.fromarray(np.full((20, 20, 3), 60 * number, np.uint8)).save(folder / f"{number}.jpg")
    return tmp_path / "data"


def train_error(tmp_path, *argv):
    return error_of(train.main, "--model", "resnet18", "--ckpt_save_dir", tmp_path / "ckpt", *argv)


def test_missing_data_dir(tmp_path):
    assert "data_dir: /nowhere is not a folder; name the one" in train_error(tmp_path, "--data_dir", "/nowhere")


def test_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    message = train_error(tmp_path, "--dataset", "folder", "--data_dir", tmp_path / "empty")
    assert "empty holds no image file at any depth" in message


def test_no_readable_image(tmp_path, photo_folder):
    for file in (photo_folder / "train" / "cat").iterdir():
        file.write_bytes(b"not an image")
    message = train_error(tmp_path, "--data_dir", photo_folder, "--batch_size", "2", "--warmup_epochs", "0")
    assert "4 images in a row, from cat/" in message and "cannot be read" in message


def test_label_list_that_does_not_parse(tmp_path, photo_folder):
    (photo_folder / "train_list.txt").write_text("train/cat/0.jpg 0\ntrain/cat/1.jpg zero\n")
    message = train_error(tmp_path, "--data_dir", photo_folder)
    assert "train_list.txt:2" in message or "train_list.txt, line 2" in message


def test_unknown_key_and_wrong_value(tmp_path):
    (tmp_path / "r.yaml").write_text("bach_size: 2")
    assert error_of(train.main, "-c", tmp_path / "r.yaml") == (
        f"train.py: {tmp_path}/r.yaml: unknown key 'bach_size'; nearest: batch_size"
    )
    assert "--batch_size: -4 is below 2" in train_error(tmp_path, "--batch_size", "-4")


@pytest.mark.parametrize("main", [train.main, validate.main])
@pytest.mark.parametrize(
    "flags, message",
    [
        (["--scale", "0.9", "0.1"], "scale: 0.9 is above 0.1; write the smaller number first"),
        (["--ratio", "2", "1"], "ratio: 2 is above 1; write"),
        (["--blur_sigma", "2", "1"], "blur_sigma: 2 is above 1; write"),
        (["--color_jitter", "0", "0", "0", "0.6"], "color_jitter: the hue 0.6 is above 0.5"),
    ],
)
def test_views_are_checked_before_the_data_are_opened(main, flags, message):
    assert message in error_of(main, "-c", RECIPE, "--data_dir", "/nowhere", *flags)


def test_more_steps_than_int32_counts_and_a_rate_that_would_rise(tmp_path, monkeypatch):
    argv = ["-c", RECIPE, "--epoch_size", "1000000", "--batch_size", "2"]
    monkeypatch.setattr(plan, "LARGEST_INT", 10**8)  # of a data set with three times as many images
    assert "epoch_size: 1000000 epochs of 721 steps are 721000000 steps" in train_error(tmp_path, *argv)
    assert "min_lr: 3, the rate at the end, is above the peak of 0.5" in train_error(
        tmp_path, "-c", RECIPE, "--lr", "0.5", "--min_lr", "3"
    )


def test_batch_larger_than_the_data(tmp_path, photo_folder):
    message = train_error(tmp_path, "--data_dir", photo_folder, "--batch_size", "5")
    assert "batch_size: a step takes 5 images" in message and "the training split has 4" in message


@pytest.mark.parametrize("model, reason", [("resnet51", "nearest: "), ("volo_d1", "no forward_features")])
def test_unusable_model(tmp_path, model, reason):
    message = train_error(tmp_path, "-c", RECIPE, "--model", model, "--stages", "4")
    assert f"'{model}'" in message and reason in message


def test_image_size_too_small(tmp_path):
    message = train_error(tmp_path, "-c", RECIPE, "--model", "densenet121", "--stages", "4")
    assert "image_resize: 'densenet121' takes no images of 16 pixels" in message
    assert "--image_resize: 4 is below 8" in train_error(tmp_path, "-c", RECIPE, "--image_resize", "4")


def test_output_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    message = error_of(train.main, "-c", RECIPE, "--ckpt_save_dir", tmp_path / "file" / "ckpt")
    assert "ckpt_save_dir: cannot write to" in message


@pytest.mark.parametrize("main", [train.main, validate.main])
def test_checkpoints_that_do_not_fit(tmp_path, main):
    argv = ["-c", RECIPE, "--ckpt_save_dir", tmp_path / "run", "--ckpt_path"]
    assert "none.ckpt: no such file" in error_of(main, *argv, tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    assert "not a MindSpore checkpoint, nor any other kind" in error_of(main, *argv, tmp_path / "text.ckpt")
    arrays = {"conv1.weight": np.zeros((2, 2), np.float32), "bn1.gamma": np.zeros(2, np.float32)}
    checkpoint.write(tmp_path / "other.ckpt", arrays, Card(model="resnet50"))
    assert "is a checkpoint of resnet50, not of resnet18" in error_of(main, *argv, tmp_path / "other.ckpt")
    checkpoint.write(tmp_path / "bare.ckpt", arrays, Card(model="resnet18"))
    message = error_of(main, *argv, tmp_path / "bare.ckpt")
    assert "bare.ckpt: " in message and "backbone 0/100 loaded, 98 missing, 0 unexpected, 2 misshapen" in message
    data = (tmp_path / "other.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(data[: len(data) // 2])
    assert "truncated or not a MindSpore checkpoint" in error_of(main, *argv, tmp_path / "half.ckpt")


def test_validate_needs_labels_and_a_checkpoint(tmp_path, photo_folder):
    flags = ["--data_dir", photo_folder, "--ckpt_path", "my x"]
    for task in ("knn", "transfer", "svm"):
        message = error_of(validate.main, "--dataset", "folder", "--task", task, *flags)
        assert message.startswith(f"validate.py: dataset: {photo_folder}: no labels to score with; ")
        assert "embed --ckpt_path 'my x' --data_dir" in message and "map 'my x' --data_dir" in message
    write_split(create_source("folder", photo_folder), photo_folder, "train", 1_000_000)
    message = error_of(validate.main, "--dataset", "mindrecord", "--val_split", "train", *flags)
    assert "dataset: 4 images, no labels, folder train (MindRecord): no labels to score with" in message
    assert "ckpt_path: which checkpoint" in error_of(validate.main, "-c", RECIPE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_output_folder(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot write to" in error_of(train.main, "-c", RECIPE, "--ckpt_save_dir", tmp_path / "ckpt")


def test_features_folder_of_a_run_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    flags = ["--task", "linear", "--dataset", "digits", "--image_resize", "16", "--ckpt_path", "x"]
    message = train_error(tmp_path, *flags, "--features_dir", tmp_path / "file")
    assert f"features_dir: '{tmp_path}/file' cannot be made (File exists); name a folder" in message
