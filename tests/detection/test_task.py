"""What detection says of bad input before anything is compiled, and the numbers that follow from a recipe."""

import re

import numpy as np
import pytest

from mindspore import Tensor

from mindbyol.checkpoint import NonFinite
from mindbyol.config import parse_args
from mindbyol.data.objects import Objects
from mindbyol.detection import task
from mindbyol.detection.scoring import score
from mindbyol.runtime import World
from mindbyol.training.plan import Plan
from tests import tiny_model  # noqa: F401  (registers the model)
from tests.detection.scenes import write_voc
from tests.tasks.classifiers import write_backbone


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voc")
    write_voc(folder, {"train": 8, "val": 4})
    return folder


def recipe(data, *flags):
    splits = [
        "--train_split",
        "2012_train",
        "--val_split",
        "2012_val",
        "--model",
        "tiny_resnet",
        "--image_resize",
        "64",
    ]
    return parse_args(["--task", "detection", "--data_dir", str(data), "--device_target", "CPU", *splits, *flags])


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--long_side 700", "long_side: 700 is below a shorter side of 800; raise it"),
        ("--train_short_sides 8 480", "image_resize, train_short_sides: 8 pixels are less than a map's step of 16"),
        ("--train_proposals 20000", "train_proposals: 20000 of 12000 candidates (train_candidates); lower it"),
        ("--test_candidates 10", "test_proposals: 1000 of 10 candidates (test_candidates); lower it"),
        ("--dataset folder", "dataset: folder has neither masks nor boxes to learn"),
    ],
)
def test_keys_that_do_not_go_together(flags, message, data):
    with pytest.raises(ValueError, match=re.escape(message)):
        recipe(data, *flags.split())


def test_canvases_hold_every_image(data):
    assert task.canvas(recipe(data, "--image_resize", "800")) == (800, 1344)
    assert task.canvas(recipe(data, "--train_short_sides", "48", "50", "--long_side", "97")) == (64, 128)


def test_data_without_boxes(data):
    with pytest.raises(ValueError, match="digits train: there are neither masks nor boxes to learn"):
        task.Training(recipe(data, "--dataset", "digits", "--train_split", "train"), World("CPU"))


def test_data_without_masks(data):
    message = "VOC 2012_train: there are no masks of objects to learn and to score with; set coco, or --detector faster"
    with pytest.raises(ValueError, match=message):
        task.Training(recipe(data, "--detector", "mask_rcnn_fpn"), World("CPU"))


def test_other_classes_in_what_is_scored(data, tmp_path):
    write_voc(tmp_path, {"train": 4, "val": 4})
    training = task.Training(recipe(data), World("CPU"))
    assert len(training.source) == 8
    (tmp_path / "VOC2012/classes.txt").write_text("square\ntriangle\ndisc\n")
    other = task.source_from_args(recipe(tmp_path), "2012_val")
    with pytest.raises(ValueError, match="val_split: the classes of"):
        task.dense.check_same_classes(training.source, other)


@pytest.mark.parametrize(
    "model, message",
    [
        ("resnet18", "stages: .* has 3 of a network's 4 stages, and detection needs the fourth, too"),
        (
            "mobilenet_v3_small_100",
            "model: a detector is made of one of MindCV's ResNets or ResNeXts, not of 'mobilenet",
        ),
    ],
)
def test_weights_that_make_no_detector(model, message, data, tmp_path):
    path = tmp_path / f"{model}.ckpt"
    stages = {"resnet18": 3}.get(model, 4)
    write_backbone(path, model, stages=stages, image_size=64)
    of_run = recipe(data, "--model", model, "--ckpt_path", str(path), "--batch_size", "2")
    training = task.Training(of_run, World("CPU"))
    with pytest.raises(ValueError, match=message):
        training.build(Plan(of_run, len(training.source)))


class Image:
    """One image without a name."""

    class_names, coco = ["square"], None

    def name(self, index):
        return "first.jpg"


class Tools:
    """One rank that has one image."""

    is_first, devices = True, "CPU x 1"

    def one_by_one(self, source, transform):
        nothing = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool), None)
        return [(0, (np.zeros((8, 8, 3), np.uint8), np.zeros((3, 8, 8), np.uint8), np.float32([8, 8]), nothing))]


def test_scores_that_are_no_numbers_are_no_scores():
    def broken(images, size):
        return Tensor(np.zeros((1, 2, 1, 4), np.float32)), Tensor(np.full((1, 2, 1), np.nan, np.float32))

    with pytest.raises(NonFinite, match="what is found in first.jpg is NaN or infinite"):
        score(broken, Image(), None, Tools(), "11points")
