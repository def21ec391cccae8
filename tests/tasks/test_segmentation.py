"""Segmentation as whole commands: what is learned, what goes on, what two ranks do, what is drawn, what is refused."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mindbyol import checkpoint
from mindbyol.commands import validate as command
from mindbyol.model_card import Card
from tests.scenes import CLASS_NAMES, write_scenes
from tests.tasks import classifiers, tiny
from tests.tasks.classifiers import flags, lines, train

SEGMENTATION = {
    "task": "segmentation",
    "dataset": "voc12_segmentation",
    "model": "tiny_resnet",
    "image_resize": 48,
    "resize_to": "96 64",
    "scale_ratio": "0.75 1.5",
    "head_channels": 16,
    "aux_channels": 8,
    "batch_size": 4,
    "train_steps": 5,
    "lr": 0.05,
    "ckpt_save_steps": 3,
    "num_parallel_workers": 1,
    "log_interval": 1,
    "report": False,
}
SCORES = ("miou", "mean_accuracy", "pixel_accuracy")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes") / "stamps", size=64)


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    """The folder of a run of five steps, two and a half epochs."""
    folder = tmp_path_factory.mktemp("run") / "ckpt"
    train(folder, SEGMENTATION, data_dir=scenes)
    return folder


def validate(path, data_dir, folder, **keys):
    """Scores of a checkpoint, by name."""
    results = folder / "results.jsonl"
    known = {"task": "segmentation", "data_dir": data_dir, "resize_to": "96 64", "num_parallel_workers": 1}
    command.main([*flags({**known, **keys}), "--ckpt_path", str(path), "--results", str(results)])
    return {line["score"]: line["value"] for line in map(json.loads, results.read_text().splitlines())}


def test_losses_and_scores_are_logged_and_the_last_epoch_is_cut_off(run):
    steps, scores = lines(run)
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5]
    for line in steps:
        assert line["loss"] == pytest.approx(line["decode_loss"] + 0.4 * line["auxiliary_loss"], abs=2e-5)
        assert 0 <= line["pixel_accuracy"] <= 1
    rates = [(0.05 - 1e-4) * (1 - step / 5) ** 0.9 + 1e-4 for step in range(5)]
    assert [line["lr"] for line in steps] == pytest.approx(rates, rel=1e-5)
    assert [line["step"] for line in scores] == [2, 4, 5] and [line["epoch"] for line in scores] == [1, 2, 3]
    assert all(f"val_{name}" in line for line in scores for name in SCORES)
    log = (run / "rank0.log").read_text()
    assert "Number of steps: 5, 2 an epoch" in log and "Number of classes: 8" in log and "Starting from: nothing" in log
    assert sorted(file.name for file in run.glob("tiny_resnet-[0-9]*.ckpt")) == [
        "tiny_resnet-1_2.ckpt",
        "tiny_resnet-2_3.ckpt",
        "tiny_resnet-2_4.ckpt",
        "tiny_resnet-3_5.ckpt",
    ]


def test_validate_gives_the_number_of_the_log_and_draws_pictures(run, scenes, tmp_path, capsys):
    last = lines(run)[1][-1]
    pictures = tmp_path / "pictures"
    found = validate(run / "tiny_resnet-3_5.ckpt", scenes, tmp_path, visualize=2, pictures_dir=pictures)
    assert {name: found[name] for name in SCORES} == pytest.approx(
        {name: last[f"val_{name}"] for name in SCORES}, abs=1e-4
    )
    assert set(found) - set(SCORES) <= {f"iou_{name}" for name in CLASS_NAMES} and "iou_background" in found
    drawn = sorted(pictures.iterdir())
    assert len(drawn) == 2
    with Image.open(drawn[0]) as picture:
        assert picture.size == (3 * 64 + 2 * 4, 48)
        original = scenes / f"VOCdevkit/VOC2012/JPEGImages/{drawn[0].stem}.jpg"
        shown = np.asarray(picture)[:, :64].astype(int)
        assert np.abs(shown - np.asarray(Image.open(original)).astype(int)).mean() < 2
    assert "tested 4 images a device" in capsys.readouterr().out


def test_a_run_goes_on_bit_for_bit(run, scenes, tmp_path):
    folder = tmp_path / "again"
    folder.mkdir()
    for name in ("tiny_resnet-2_3.ckpt", "metrics.jsonl"):
        shutil.copy(run / name, folder)
    train(folder, SEGMENTATION, "--resume", data_dir=scenes)
    found, expected = (checkpoint.read(path / "tiny_resnet-3_5.ckpt")[0] for path in (folder, run))
    classifiers.assert_same(found, expected)
    assert lines(folder)[1] == lines(run)[1]


def test_a_checkpoint_says_what_its_network_is(run, scenes, tmp_path, capsys):
    card = checkpoint.read(run / "tiny_resnet-3_5.ckpt")[1]
    assert card.kind == "segmentation" and card.more["heads"] == ["decode", "auxiliary"]
    assert card.more["segmentation"]["head_channels"] == 16 and card.more["segmentation"]["output_stride"] == 8
    again = validate(run / "tiny_resnet-3_5.ckpt", scenes, tmp_path, head_channels=512, output_stride=16)
    said = capsys.readouterr().out
    assert "head_channels: the checkpoint's 16 is used, not 512" in said
    assert "output_stride: the checkpoint's 8 is used, not 16" in said
    assert again["miou"] == pytest.approx(lines(run)[1][-1]["val_miou"], abs=1e-4)


def test_images_can_be_tested_through_a_window(run, scenes, tmp_path):
    """A window as large as the images sees what a whole test sees; a small one something else."""
    found = validate(run / "tiny_resnet-3_5.ckpt", scenes, tmp_path, test_mode="slide", image_resize=96, test_stride=96)
    assert found["pixel_accuracy"] == pytest.approx(lines(run)[1][-1]["val_pixel_accuracy"], abs=1e-4)


@pytest.mark.slow  # in CI test_linear and test_distributed have two ranks
def test_two_ranks_are_one(scenes, tmp_path):
    """The same batches and dropout, batch norms over both ranks in backbone and heads: the same weights and scores."""
    keys = {**SEGMENTATION, "data_dir": scenes, "lr": 0.001, "train_steps": 3}
    train(tmp_path / "one", keys)
    without = dict.fromkeys(set(tiny.RECIPE) - set(keys))  # keys of BYOL
    tiny.run_msrun(tmp_path / "two", **{**without, **keys, "batch_size": 2})
    one, two = (checkpoint.read(tmp_path / run / "tiny_resnet-2_3.ckpt")[0] for run in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-3, atol=1e-4, err_msg=name)
    scores = [lines(tmp_path / run)[1][-1] for run in ("one", "two")]
    assert scores[0]["val_miou"] == pytest.approx(scores[1]["val_miou"], abs=0.2)


OVERFIT = {
    **SEGMENTATION,
    "val_split": "train",
    "scale_ratio": "1 1",
    "class_share": 1,
    "hflip": 0,
    "photometric": False,
    "head_channels": 64,
    "aux_channels": 32,
    "head_dropout": 0,
    "batch_size": 8,
    "opt": "adamw",
    "weight_decay": 0,
    "ckpt_save_steps": None,
    "ckpt_save_interval": 1000,
}


@pytest.mark.slow
def test_eight_scenes_are_learned_by_heart(scenes, tmp_path):
    """From a fixed seed, to a mIoU above 0.95. Enlarged, for a map of stride 8 draws no fine border."""
    keys = {"resize_to": "160 120", "image_resize": 160, "train_steps": 300, "val_interval": 300, "lr": 0.005}
    train(tmp_path / "run", OVERFIT, data_dir=scenes, **keys)
    assert lines(tmp_path / "run")[1][-1]["val_miou"] > 95


def test_eight_scenes_are_being_learned(scenes, tmp_path):
    """The short form: from a fixed seed, objects begin to be found, and not only background (whose mIoU is 1 / 8)."""
    keys = {"resize_to": "0 0", "image_resize": 64, "train_steps": 60, "val_interval": 60, "lr": 0.01}
    train(tmp_path / "run", OVERFIT, data_dir=scenes, **keys)
    steps, scores = lines(tmp_path / "run")
    assert steps[-1]["loss"] < 0.2 * steps[0]["loss"]
    assert scores[-1]["val_miou"] > 14


def foreign_backbone(path, stages):
    classifiers.write_backbone(path, "resnet18", stages=stages, image_size=48)
    return path


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"dataset": "digits"}, "dataset: .* digits train: there are neither masks nor boxes"),
        ({"dataset": "folder"}, "dataset: folder has neither masks nor boxes to learn"),
        ({"model": "tiny"}, "model: 'tiny' has no stages that could be told"),
        (
            {"image_resize": 200},
            "image_resize: a crop of 200 pixels is larger than every image: .* has .* after resizing",
        ),
        ({"resize_to": "0 64"}, "resize_to: 0 64: both are 0, or neither is"),
        ({"test_mode": "center"}, "test_mode: center takes crops of images as they are; set resize_to 0 0"),
        ({"test_mode": "slide", "test_stride": 49}, "test_stride: 49 is above the window's 48 pixels"),
        ({"scale_ratio": "2 1"}, "scale_ratio: 2 is above 1; write the smaller number first"),
        ({"output_stride": 4}, "argument --output_stride: '4' is none of 8, 16, 32"),
        ({"decay_steps": "5 3"}, "decay_steps: 5 3 do not ascend"),
        ({"decay_steps": "3 5"}, "decay_steps: scheduler polynomial_decay has no such steps"),
        ({"val_split": "test"}, "split 'test' is none of voc12_segmentation: train, val, trainval, train_aug"),
        ({"stages": 3, "model": "resnet18"}, "stages: there are 3 of a network's 4 stages"),
    ],
)
def test_bad_keys_are_refused_in_a_line(keys, message, scenes, tmp_path):
    refused(train, tmp_path / "run", SEGMENTATION, message, data_dir=scenes, **keys)


def refused(run, folder, recipe, message, **keys):
    with pytest.raises(SystemExit, match=message) as caught:
        run(folder, recipe, **keys)
    assert "\n" not in str(caught.value)


def test_weights_without_the_fourth_stage_are_refused(scenes, tmp_path):
    path = foreign_backbone(tmp_path / "resnet18.ckpt", stages=3)
    keys = {"data_dir": scenes, "model": "resnet18", "ckpt_path": path}
    refused(train, tmp_path / "run", SEGMENTATION, f"stages: {path} has 3 of a network's 4 stages", **keys)


def test_what_no_head_knows_cannot_be_scored(run, scenes, tmp_path):
    path = foreign_backbone(tmp_path / "resnet18.ckpt", stages=4)

    def scored(_, path, **keys):
        validate(path, keys.pop("data_dir", scenes), tmp_path, **keys)

    refused(scored, None, path, f"{path} has no classifier of task segmentation: train one on it")
    arrays, card = checkpoint.read(run / "tiny_resnet-3_5.ckpt")
    without = tmp_path / "without.ckpt"
    more = {"heads": card.more["heads"], "segmentation": {"head_convs": 2}}
    checkpoint.write(without, arrays, Card(**{**vars(card), "run": None, "more": more}))
    refused(scored, None, without, "its model card does not say `output_stride` of its segmentation network")
    (scenes / "VOCdevkit/VOC2012/classes.txt").rename(scenes / "classes.bak")
    try:
        message = "tells 8 classes apart, but 4 images with masks, 21 classes, .* has 21"
        refused(scored, None, run / "tiny_resnet-3_5.ckpt", message)
    finally:
        (scenes / "classes.bak").rename(scenes / "VOCdevkit/VOC2012/classes.txt")


def test_ids_beyond_the_classes_come_out_before_training(tmp_path):
    scenes = write_scenes(tmp_path / "stamps", train=4, val=1, size=48)
    mask = next((scenes / "VOCdevkit/VOC2012/SegmentationClass").iterdir())
    Image.fromarray(np.full((36, 48), 77, np.uint8)).save(mask)
    train_or_val = "holds the id 77, which is none of the 8 classes, nor 255"
    refused(train, tmp_path / "run", SEGMENTATION, train_or_val, data_dir=scenes)
