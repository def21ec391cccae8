"""Odd but possible inputs of the commands: one line that says what to do, before anything is compiled, or a run that
goes through."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mindbyol import checkpoint
from mindbyol.commands import make_mindrecord, preview, train, validate
from mindbyol.config import parse_args
from mindbyol.data import create_source, mindrecord, source_from_args, two_view_transform_from_args
from mindbyol.pretraining import Training
from mindbyol.runtime import World
from mindbyol.training.plan import Plan
from mindbyol.training.run_state import RunState, Saved
from tests.tasks.test_bad_input import error_of

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "configs/byol/byol_resnet18_digits_cpu.yaml"
TINY = ["-c", RECIPE, "--stages", 1, "--num_samples", 32, "--batch_size", 16, "--epoch_size", 1, "--warmup_epochs", 0]
TINY += ["--projector_hidden_size", 8, "--projection_size", 4, "--predictor_hidden_size", 8]


def new_state(folder, *flags):
    """The state of a run that has not taken a step, and the step."""
    recipe = parse_args([str(flag) for flag in [*TINY, "--ckpt_save_dir", folder, *flags]])
    training = Training(recipe, World("CPU"))
    plan = Plan(recipe, len(training.source))
    step = training.build(plan)
    return RunState(recipe, training, plan, World("CPU")), step


def restore(state, step, which):
    saved = Saved.find(state.folder, which, "resnet18")
    state.check_same(saved)
    state.restore(step, saved)
    return saved.path


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Of a run in a folder of its own."""
    return new_state(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def run_folder(state):
    """A folder with the checkpoints of a run that was stopped before its first step."""
    state, step = state
    state.save(step, {"pending": [], "overflows": 0.0, "seconds": 1.0, "line_seconds": 1.0, "line_wait": 0.0})
    return state.folder


def test_checkpoints_of_half_precision_runs_are_written(tmp_path):
    state, step = new_state(tmp_path, "--amp_level", "O2")
    state.save(step, {})
    assert "conv1.weight" in checkpoint.read(state.file("_backbone"))[0]


@pytest.mark.parametrize("name", ["rank0.log", "config.yaml", "metrics.jsonl"])
def test_a_pipe_where_a_run_writes_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    message = error_of(train.main, *TINY, "--ckpt_save_dir", tmp_path)
    assert f"ckpt_save_dir: '{tmp_path}/{name}' is no regular file" in message


@pytest.mark.parametrize("split", [".", "..", "a/../..", "/etc"])
@pytest.mark.parametrize("main", [train.main, preview.main, make_mindrecord.main])
def test_a_split_lies_in_data_dir(tmp_path, main, split):
    own = {train.main: ["--ckpt_save_dir", tmp_path / "out", "--train_split", split]}
    own[preview.main] = ["--output", tmp_path / "x.png", "--train_split", split]
    own[make_mindrecord.main] = ["--output_dir", tmp_path / "out", "--split", split]
    message = error_of(main, "--dataset", "imagenet", "--data_dir", tmp_path, *own[main])
    assert f"'{split}' is" in message


@pytest.mark.parametrize(
    "log",
    [
        {"pending": []},
        {"pending": "x", "overflows": 0, "seconds": 0, "line_seconds": 0, "line_wait": 0},
        {"pending": [[1.0]], "overflows": 0, "seconds": 0, "line_seconds": 0, "line_wait": 0},
        {"pending": [], "seconds": "x", "line_seconds": 0, "line_wait": 0},
        {"pending": [], "overflows": "x", "seconds": 0, "line_seconds": 0, "line_wait": 0},
    ],
)
def test_a_log_that_no_run_wrote_is_not_gone_on_with(state, run_folder, tmp_path, log):
    path = shutil.copy(run_folder / "resnet18-0_0.ckpt", tmp_path)
    arrays, card = checkpoint.read(path)
    card.run["log"] = log
    checkpoint.write(path, arrays, card)
    with pytest.raises(ValueError, match="does not hold what a log remembers"):
        restore(*state, path)


def test_a_model_that_is_called_in_two_lines(run_folder, tmp_path):
    path = shutil.copy(run_folder / "resnet18-0_0_backbone.ckpt", tmp_path)
    arrays, card = checkpoint.read(path)
    checkpoint.write(path, arrays, replace(card, model="resnet18\nall is well"))
    assert r'"resnet18\nall is well" as `model`' in error_of(validate.main, *TINY, "--ckpt_path", path)


def test_images_of_a_run_that_are_no_object(run_folder, tmp_path):
    path = shutil.copy(run_folder / "resnet18-0_0.ckpt", tmp_path)
    arrays, card = checkpoint.read(path)
    card.run["images"] = "abc"
    checkpoint.write(path, arrays, card)
    assert "as `run`, which must be" in error_of(validate.main, *TINY, "--ckpt_path", path)


def test_a_folder_called_like_a_checkpoint_and_metrics_that_are_no_text(run_folder, tmp_path):
    shutil.copy(run_folder / "resnet18-0_0.ckpt", tmp_path)
    (tmp_path / "resnet18-9_99.ckpt").mkdir()
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 0}\n\xff\xfe\n' + b"[" * 100_000 + b'\n{"step": 1}\n')
    state, step = new_state(tmp_path)
    assert restore(state, step, "newest").name == "resnet18-0_0.ckpt"
    state.forget_later_metrics()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b'{"step": 0}\n'


@pytest.mark.parametrize("kind", ["checkpoint", "recipe", "link to nowhere", "long name"])
def test_scores_that_could_not_be_written_or_would_overwrite_what_is_read(run_folder, tmp_path, kind):
    recipe, weights = shutil.copy(RECIPE, tmp_path), shutil.copy(run_folder / "resnet18-0_0.ckpt", tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "scores.json")
    results, reason = {
        "checkpoint": (weights, "holds something else than scores"),
        "recipe": (recipe, "holds something else than scores"),
        "link to nowhere": (tmp_path / "link", f"cannot write '{tmp_path}/gone/scores.json'"),
        "long name": (tmp_path / ("r" * 255), "cannot write"),
    }[kind]
    before = Path(weights).read_bytes()
    flags = ["-c", recipe, *TINY[2:], "--ckpt_path", weights, "--results", results]
    message = error_of(validate.main, *flags)
    assert message.startswith("validate.py: results: ") and reason in message
    assert Path(weights).read_bytes() == before


def image_folder(tmp_path):
    folder = tmp_path / "data" / "train" / "a"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((9, 9, 3), 60 * number, np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "data"


def test_a_description_of_shards_that_is_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "train.json")
    flags = ["--dataset", "imagenet", "--data_dir", image_folder(tmp_path), "--output_dir", tmp_path / "out"]
    assert "train.json is no regular file" in error_of(make_mindrecord.main, *flags)


def test_a_shard_is_not_moved_into_a_folder_of_its_name(tmp_path):
    (tmp_path / "out" / "train-00000.mindrecord").mkdir(parents=True)
    flags = ["--dataset", "imagenet", "--data_dir", image_folder(tmp_path), "--output_dir", tmp_path / "out"]
    assert "train-00000.mindrecord" in error_of(make_mindrecord.main, *flags)
    assert not (tmp_path / "out" / "train.json").exists()


def test_features_that_are_not_finite_have_no_score(run_folder, tmp_path):
    arrays, card = checkpoint.read(run_folder / "resnet18-0_0_backbone.ckpt")
    arrays.update({name: np.full_like(array, 3e38) for name, array in arrays.items() if name.endswith("beta")})
    checkpoint.write(tmp_path / "x.ckpt", arrays, card)
    message = error_of(validate.main, *TINY, "--ckpt_path", tmp_path / "x.ckpt", "--knn_k", 5)
    assert "the trained features of 32 of 32 of 1442 images" in message and "are NaN or infinite" in message


@pytest.mark.parametrize("kind", [np.int32, bool])
def test_whole_numbers_are_no_weights(run_folder, tmp_path, kind):
    arrays, card = checkpoint.read(run_folder / "resnet18-0_0_backbone.ckpt")
    checkpoint.write(tmp_path / "x.ckpt", {name: array.astype(kind) for name, array in arrays.items()}, card)
    message = error_of(validate.main, *TINY, "--ckpt_path", tmp_path / "x.ckpt", "--knn_k", 5)
    assert "holds" in message and "not real numbers" in message


def test_a_rate_that_scaling_makes_infinite():
    args = parse_args([str(flag) for flag in [*TINY, "--batch_size", 512, "--base_lr", "3e38"]])
    with pytest.raises(ValueError, match=r"base_lr: 3e\+38 for 256 images is 6e\+38 for 512"):
        Plan(args, 1442)


@pytest.mark.parametrize("name", ["x.gif", "x", "x.png.txt"])
def test_the_preview_has_the_format_of_its_suffix(tmp_path, name):
    assert "ends in none of .png" in error_of(preview.main, *TINY, "--output", tmp_path / name)


@pytest.mark.parametrize(
    "split, what", [("a:b", "holds :"), ("it's", "holds '"), (" a", "starts or ends with a space")]
)
def test_a_split_that_mindrecord_takes_in_no_name(tmp_path, split, what):
    data = image_folder(tmp_path)
    (data / "train").rename(data / split)
    flags = ["--dataset", "imagenet", "--data_dir", data, "--output_dir", tmp_path / "out", "--split", split]
    assert f"split '{split}' {what}" in error_of(make_mindrecord.main, *flags)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_shards_may_be_called_anything(tmp_path):
    folder = tmp_path / "50%20 of?them#"
    flags = ["--dataset", "imagenet", "--data_dir", image_folder(tmp_path), "--output_dir", folder]
    make_mindrecord.main([str(flag) for flag in flags])
    source = create_source("mindrecord", str(folder))
    assert [source.name(index) for index in range(3)] == ["a/0.png", "a/1.png", "a/2.png"]


def test_what_mindspore_cannot_write_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(mindrecord, "_SCHEMA", {"number": {"type": "no type"}})
    flags = ["--dataset", "imagenet", "--data_dir", image_folder(tmp_path), "--output_dir", tmp_path / "out"]
    assert "train-00000.mindrecord: [MRM" in error_of(make_mindrecord.main, *flags)


@pytest.mark.parametrize("name", ["MS_WORKER_NUM", "MS_ROLE"])
def test_variables_of_msrun_that_make_no_sense_are_one_line(tmp_path, name):
    around = {"MS_WORKER_NUM": "1", "MS_ROLE": "MS_WORKER", "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": "8118"}
    command = [sys.executable, str(ROOT / "train.py"), *map(str, TINY), "--ckpt_save_dir", str(tmp_path)]
    result = subprocess.run(command, env={**os.environ, **around, name: "nonsense"}, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("train.py: distribute: ")


@pytest.mark.parametrize("command", ["train.py", "scripts/preview.py"])
def test_a_current_folder_that_was_removed(tmp_path, command):
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = ["bash", "-c", 'cd "$1" && rmdir "$1" && exec "$2" "$3"', "bash", gone, sys.executable, ROOT / command]
    result = subprocess.run(shell, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "the working folder has been deleted" in result.stderr


def test_a_weight_that_is_called_in_two_lines(run_folder, tmp_path):
    arrays, card = checkpoint.read(run_folder / "resnet18-0_0_backbone.ckpt")
    checkpoint.write(tmp_path / "x.ckpt", {**arrays, "x\nall is well": np.zeros(1, np.float32)}, card)
    assert r"'x\nall is well' of 13 characters is no name of a tensor" in error_of(
        validate.main, *TINY, "--ckpt_path", tmp_path / "x.ckpt"
    )


def test_more_images_than_a_preview_has_room_for(tmp_path):
    flags = [*TINY, "--output", tmp_path / "x.png", "--images"]
    assert "--images: 179 is above 178 (the picture has" in error_of(preview.main, *flags, 179)


def test_the_preview_of_a_large_image_draws_few_of_its_pixels(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (6000, 2000)).save(tmp_path / "photos" / "x.png")
    args = parse_args(["--dataset", "folder", "--data_dir", str(tmp_path / "photos"), "--image_resize", "32"])
    figure, _ = preview.draw_grid(source_from_args(args, "train"), two_view_transform_from_args(args), 0, 0, [0])
    original = figure.axes[0]
    assert original.images[0].get_array().shape == (334, 1000, 3) and "6000 x 2000" in original.get_xlabel()


def test_a_folder_for_shards_that_is_no_unicode(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    flags = ["--dataset", "imagenet", "--data_dir", image_folder(tmp_path), "--output_dir", folder]
    assert r"\xff: its name is no UTF-8 text" in error_of(make_mindrecord.main, *flags)


def test_a_drawing_backend_that_is_not_there(tmp_path):
    command = [
        sys.executable,
        ROOT / "scripts/preview.py",
        "-c",
        RECIPE,
        "--images",
        "1",
        "--output",
        tmp_path / "x.png",
    ]
    subprocess.run(command, env={**os.environ, "MPLBACKEND": "nonsense"}, check=True)
