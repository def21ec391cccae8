import logging
import os
from dataclasses import replace

import numpy as np
import pytest
import yaml

from mindbyol import checkpoint, tasks
from mindbyol.config import other_words, parse_args
from mindbyol.config.keys import Changes
from mindbyol.model_card import Card


def recipe(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return str(path)


def test_command_line_over_recipe_over_default(tmp_path):
    path = recipe(tmp_path, "seed: 1\nbatch_size: 32\n")
    args = parse_args(["-c", path, "--seed", "2"])
    assert (args.seed, args.batch_size, args.epoch_size) == (2, 32, 50)
    assert parse_args([f"--config={path}"]).batch_size == 32


@pytest.mark.parametrize("text", ["yes", "true", "True", "1", "on"])
def test_true_in_recipe_and_on_the_command_line(tmp_path, text):
    assert parse_args(["-c", recipe(tmp_path, f"dataset_download: {text}")]).dataset_download is True
    assert parse_args(["--dataset_download", text]).dataset_download is True


def test_false_is_false(tmp_path):
    assert parse_args(["-c", recipe(tmp_path, "probe: False")]).probe is False
    assert parse_args(["--probe", "False"]).probe is False


def test_lists_are_numbers_once_or_once_a_view(tmp_path):
    args = parse_args(["-c", recipe(tmp_path, "scale: [[0.2, 1], [0.3, 1.0]]\nblur_prob: 0.5"), "--hflip", "0", "1"])
    assert args.scale == (0.2, 1.0, 0.3, 1.0) and args.blur_prob == (0.5,) and args.hflip == (0.0, 1.0)


def test_a_power_of_ten_without_a_dot_is_a_number(tmp_path):
    assert parse_args(["-c", recipe(tmp_path, "weight_decay: 1e-6")]).weight_decay == 1e-6


@pytest.mark.parametrize(
    "text, message",
    [
        ("bach_size: 3", "recipe.yaml: unknown key 'bach_size'; nearest: batch_size"),
        ("batch_size: -3", "recipe.yaml: batch_size: .*-3 is below 2"),
        ("batch_size: many", "recipe.yaml: batch_size: .*'many' is not a whole number"),
        ("batch_size: 2.5", "recipe.yaml: batch_size: .*'2.5' is not a whole number"),
        ("batch_size: [2]", "recipe.yaml: batch_size: takes one value"),
        ("batch_size:", "recipe.yaml: batch_size: has no value"),
        ("base_lr: -0.1", "base_lr: .*-0.1 is below 0"),
        ("base_lr: nan", "base_lr: .*nan is not a finite float32"),
        ("loss_scale: 1e300", "loss_scale: .*1e300 is not a finite float32"),
        ("momentum: 1", "momentum: .*1 is not below 1"),
        ("hflip: 1.5", "hflip: .*1.5 is above 1"),
        ("scale: [0.08]", "scale: takes 2 or, one set a view, 4 numbers, not 1"),
        ("mean: [1, 2]", "mean: takes 3 values, not 2"),
        ("opt: adam", "opt: 'adam' is none of lars, sgd, adamw"),
        ("probe: maybe", "probe: .*'maybe' is neither true nor false"),
        ("- a\n- b", "lines of 'key: value'"),
        ("a: b: c", "recipe.yaml: mapping values are not allowed"),
        ("lr: 1\nlr: 2", "recipe.yaml: 'lr' stands there more than once"),
        ("ckpt_path: false", "ckpt_path: takes no False"),
        ("mean: [0.485, 0.456, 0.406]\nstd: [0.229, 0.224, 0.225]", "std: .* 0-255"),
        ("data_dir: ''", "data_dir: is empty"),
        (r'data_dir: "a\0b"', "data_dir: .* holds a control character"),
        ("&a [*a]", "recipe.yaml: line 1: no anchors and aliases"),
        ("scale: &a [0.1, 1]\nratio: *a", "recipe.yaml: line 1: no anchors and aliases"),
        ("scale: " + 20000 * "[", "recipe.yaml: line 1: nested too deep"),
        ("scale:\n" + "\n".join(i * " " + "-" for i in range(200)), "recipe.yaml: line 4: nested too deep"),
        ("batch_size: {a: 1}", "recipe.yaml: batch_size: takes no keys of its own"),
        ("? [a]\n: 1", "recipe.yaml: line 1: a key is one word"),
        ("batch_size: !!python/object:os.system 3", "recipe.yaml: batch_size: 'tag:.*' is no kind of value"),
        ("batch_size: 1_6", "recipe.yaml: batch_size: '1_6' is not a whole number in plain digits"),
        ("batch_size: １６", "recipe.yaml: batch_size: '１６' is not a whole number"),
        ("epoch_size: 1:30", "recipe.yaml: epoch_size: '1:30' is not a whole number"),
        ("batch_size: 010", "recipe.yaml: batch_size: '010' is not a whole number"),
        ("batch_size: 0x10", "recipe.yaml: batch_size: '0x10' is not a whole number"),
        ("base_lr: 1_0.5", "recipe.yaml: base_lr: '1_0.5' is not a number"),
        ("seed: " + 5000 * "9", r"seed: 9{60}\.\.\. is far too large"),
        ("epoch_size: 1000000000", "epoch_size: 1000000000 is above 1000000 .epochs, not steps"),
        ("projector_hidden_size: 1000000000", "is above 16384 .published heads"),
        ("num_parallel_workers: 5000", "5000 is above 256 .more workers than cores gain nothing"),
        ("image_resize: 100000", "100000 is above 4096"),
        (
            "batch_size: 60000\nimage_resize: 2000",
            "batch_size: 60000 images of 2000 x 2000 pixels .* at most 2147483647",
        ),
        ("weight_decay: 1e38", "1e38 is above 1 .more outweighs every gradient"),
        ("mean: [1e38, 0, 0]", "1e38 is above 255 .pixels are 0-255"),
        ("std: [1e-38, 57, 57]", "1e-38 is too small for a float32"),
        ("std: [1e-3, 57, 57]", "1e-3 is below 0.1 .pixels are 0-255"),
        ("log_interval: 100000000000000000000", "is above 2147483647 .counts go from 1 to what int32 holds"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        parse_args(["-c", recipe(tmp_path, text)])


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--bach_size", "3"], "--bach_size: no such flag; nearest: --batch_size"),
        (["--batch_size", "x"], "--batch_size: 'x' is not a whole number"),
        (["--epoch_size", "0"], "--epoch_size: 0 is below 1"),
        (["--resume", ""], "resume: is empty"),
        (["--epoch_size", "100000000000000000000"], "--epoch_size: 1.* is above 1000000"),
        (["--num_parallel_workers", "5000"], "--num_parallel_workers: 5000 is above 256"),
        (["-c", "a.yaml", "--config=b.yaml"], "--config: given 2 times"),
        (["--model", "a\nb"], r"^'a\\nb': holds a control character"),
        (["-c", ""], "-c: is empty; was a variable not set"),
        (["--learning_rate", "1"], "--learning_rate: no such flag; here it is --base_lr or --lr"),
        (["--learning-rate=1"], "--learning-rate=1: no such flag; here it is --base_lr or --lr"),
        (["--batch-size", "8"], "--batch-size: no such flag; nearest: --batch_size"),
        (["--workers", "4"], "here it is --num_parallel_workers"),
        (["-j", "4"], "-j: no such flag; here it is --num_parallel_workers"),
        (["--output_dir", "x"], "here it is --ckpt_save_dir"),
        (["--precision", "16"], "here it is --amp_level or --amp_dtype"),
        (["--arch", "resnet18"], "here it is --model"),
        (["--wd", "1e-4"], "here it is --weight_decay"),
        (["--bs", "8"], "here it is --batch_size"),
        (["--cpu"], "here it is --device_target"),
        (["--zzzz"], "--zzzz: no such flag; --help lists them all"),
        (["--task", "knn", "--learning_rate", "1"], "--learning_rate: no such flag; (nearest|--help)"),
        (["--device_target", "cpu"], "--device_target: 'cpu' is none of Ascend, GPU, CPU; write CPU"),
        (["--device_target", "npu"], "none of Ascend, GPU, CPU; write Ascend"),
        (["--amp_level", "fp16"], "none of O0, O1, O2, O3; write O2"),
        (["--opt", "rmsprop"], "none of lars, sgd, adamw$"),
    ],
)
def test_errors_name_the_flag(argv, message):
    with pytest.raises(ValueError, match=message):
        parse_args(argv, "validate" if "knn" in argv else "train")


def test_words_of_other_projects_lead_to_keys_that_there_are():
    keys = {key.name for task in tasks.TASKS for group in tasks.load(task).KEYS for key in group.keys}
    for word, meant in other_words._KEYS_OF.items():
        assert set(meant) <= keys and word not in keys, word


def test_a_recipe_with_a_word_of_another_project(tmp_path):
    with pytest.raises(ValueError, match="recipe.yaml: unknown key 'epochs'; here it is epoch_size"):
        parse_args(["-c", recipe(tmp_path, "epochs: 100")])


def test_resume_in_a_recipe_is_the_newest_or_none(tmp_path):
    assert parse_args(["-c", recipe(tmp_path, "resume: true")]).resume == "newest" == parse_args(["--resume"]).resume
    assert parse_args(["-c", recipe(tmp_path, "resume: false")]).resume is None


def test_missing_recipe():
    with pytest.raises(FileNotFoundError, match="--config: no recipe 'nowhere.yaml'"):
        parse_args(["-c", "nowhere.yaml"])


def test_recipes_that_are_no_regular_file_or_none_at_all(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(OSError, match=f"--config: '{path}' is no regular file"):
            parse_args(["-c", str(path)])
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(10**11)
    with pytest.raises(ValueError, match="huge: has more than 64 kB"):
        parse_args(["-c", str(tmp_path / "huge")])
    (tmp_path / "latin.yaml").write_bytes(b"model: \xe9")
    with pytest.raises(ValueError, match="latin.yaml: is no UTF-8 text"):
        parse_args(["-c", str(tmp_path / "latin.yaml")])
    with pytest.raises(OSError, match="--config: cannot read '/proc/self/mem' .Input/output error"):
        parse_args(["-c", "/proc/self/mem"])


def test_texts_stay_what_is_written(tmp_path):
    args = parse_args(["-c", recipe(tmp_path, "ckpt_save_dir: 2024-01-01\ndata_dir: 010\nlr: ~")])
    assert (args.ckpt_save_dir, args.data_dir, args.lr) == ("2024-01-01", "010", None)


def test_the_resolved_recipe_is_a_recipe(tmp_path):
    args = parse_args(["--seed", "7", "--scale", "0.2", "1"])
    again = parse_args(["-c", recipe(tmp_path, yaml.safe_dump(args.plain()))])
    assert again.values == args.values and again.task == args.task == "byol"
    assert parse_args(["-c", recipe(tmp_path, yaml.safe_dump(args.plain()))], "validate").scale == (0.2, 1.0)


@pytest.mark.parametrize(
    "text, flags, message",
    [
        ("base_lr: 0.3", ["--lr", "0.1"], "base_lr: 0.3 is not used: lr 0.1 is given"),
        ("lr: 0.1", ["--base_lr", "0.2"], "base_lr: 0.2 is not used: lr 0.1 is given"),
        ("amp_dtype: bfloat16", [], "amp_dtype: bfloat16 is not used: amp_level O0"),
        ("dataset_sink_mode: True", [], "dataset_sink_mode: True is not used, on any device"),
        ("dataset_sink_mode: False", [], None),
        ("base_lr: 0.3", [], None),
        ("lr: 0.3", [], None),
        ("amp_dtype: float16", ["--amp_level", "O2"], None),
    ],
)
def test_of_two_keys_that_one_counts_is_said(tmp_path, caplog, text, flags, message):
    with caplog.at_level(logging.WARNING):
        parse_args(["-c", recipe(tmp_path, text), *flags])
    assert [record.message.startswith(message or "") for record in caplog.records] == [True] * (message is not None)


def test_a_recipe_does_not_change():
    args = parse_args(["--task", "byol"])
    with pytest.raises(AttributeError, match="padding: a recipe does not change"):
        args.padding = "torch"
    with pytest.raises(TypeError):
        args.values["padding"] = "torch"
    with pytest.raises(AttributeError, match="the recipe of task byol has no key 'paddding'"):
        args.paddding


def test_a_recipe_stands_on_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text("task: byol\nseed: 1\nbatch_size: 32\nmodel: resnet18")
    args = parse_args(["-c", recipe(tmp_path, "base: base.yaml\nbatch_size: 16"), "--model", "resnet34"])
    assert (args.seed, args.batch_size, args.model) == (1, 16, "resnet34")
    assert args.given == {"seed", "batch_size", "model"}


@pytest.mark.parametrize(
    "base, text, message",
    [
        ("seed: 1", "base: nowhere.yaml", "recipe.yaml: base: no recipe '.*nowhere.yaml'"),
        ("base: recipe.yaml", "base: base.yaml", "recipe.yaml: base: '.*base.yaml' has a base itself"),
        ("sed: 1", "base: base.yaml", "base.yaml: unknown key 'sed'; nearest: seed"),
        ("seed: 1", "base: [base.yaml]", "recipe.yaml: base: takes the path of one recipe"),
    ],
)
def test_bases_that_are_none(tmp_path, base, text, message):
    (tmp_path / "base.yaml").write_text(base)
    with pytest.raises((ValueError, OSError), match=message):
        parse_args(["-c", recipe(tmp_path, text)])


def test_the_task_is_that_of_flag_recipe_or_command(tmp_path):
    assert [parse_args([], command).task for command in ("train", "validate")] == ["byol", "knn"]
    of_byol = recipe(tmp_path, "base_tau: 0.9")
    assert parse_args(["-c", of_byol]).task == "byol"
    assert parse_args(["-c", of_byol, "--knn_k", "3"], "validate").task == "knn"  # what scores a pretrained backbone
    assert parse_args(["-c", of_byol, "--knn_k", "3"]).knn_k == (3,)  # its recipe may say how
    for text, argv, message in (
        ("task: knn", [], "task: knn has nothing to train; validate.py scores with it"),
        ("task: kn", [], "recipe.yaml: task: 'kn' is none of byol, knn"),
        ("", ["--task", "kn"], "--task: 'kn' is none of byol, knn"),
        ("task: knn\nbase_tau: 1", [], "unknown key 'base_tau'"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_args(["-c", recipe(tmp_path, text), *argv], "train" if "train" in message else "validate")


def test_a_run_that_began_with_weights_of_others_is_scored_by_its_config(tmp_path):
    of_run = recipe(tmp_path, "task: byol\npretrained_from: theirs.pth")
    assert parse_args(["-c", of_run, "--ckpt_path", "ours.ckpt"], "validate").ckpt_path == "ours.ckpt"


@pytest.mark.parametrize("task, there, not_there", [("byol", "--base_tau", "--none"), ("knn", "--knn_k", "--base_tau")])
def test_help_shows_the_keys_of_the_task(capsys, task, there, not_there):
    with pytest.raises(SystemExit) as stop:
        parse_args(["--task", task, "--help"], "validate" if task == "knn" else "train")
    shown = capsys.readouterr().out
    assert stop.value.code == 0 and there in shown and not_there not in shown


@pytest.mark.parametrize("task", ["byol", "knn", "linear", "finetune"])
def test_help_of_validate_has_no_keys_of_training(capsys, tmp_path, task):
    with pytest.raises(SystemExit):
        parse_args(["-c", recipe(tmp_path, f"task: {task}"), "--help"], "validate")
    shown = capsys.readouterr().out
    assert "--crop_pct" in shown and "--results" in shown
    assert not [flag for flag in ("--base_lr", "--epoch_size", "--base_tau", "--blur_prob", "--opt ") if flag in shown]
    assert parse_args(["--task", task, "--seed", "1", "--ckpt_path", "x"], "validate").seed == 1


def test_a_resolved_recipe_is_written_in_groups(tmp_path):
    args = parse_args(["-c", recipe(tmp_path, "data_dir: 'a: #b'\nlr: 1.0e-6"), "--scale", "0.2", "1", "--resume"])
    text = args.text(without=("resume",))
    assert text.startswith("task: byol\n\n# system parameters\nmode: 0\n") and "\n# byol parameters\n" in text
    assert "\nscale: [0.2, 1.0]\n" in text and "\nresume" not in text
    again = parse_args(["-c", recipe(tmp_path, text)])
    assert {**again.values, "resume": "newest"} == args.values


def test_of_two_tasks_the_recipe_of_a_run_has_the_keys_of_its_own(tmp_path):
    args = parse_args(["-c", recipe(tmp_path, "task: byol\nbase_tau: 0.9"), "--task", "finetune"])
    assert "base_tau" in args.values and "base_tau" not in args.text()
    assert parse_args(["-c", recipe(tmp_path, args.text())]).task == "finetune"


def test_every_key_is_defined_once_and_says_what_it_does():
    for task in tasks.TASKS:
        keys = [key for group in tasks.load(task).KEYS for key in group.keys]
        assert len({key.name for key in keys}) == len(keys)
        for key in keys:
            assert isinstance(key.changes, Changes) and len(key.help) > 10, key.name


@pytest.mark.parametrize(
    "text, value",
    [("white", "white"), ("Gray", "gray"), ("255, 255,255", "white"), ("0,0,0", "black"), ("255,128,0", "255,128,0")],
)
def test_a_background_is_a_name_or_three_numbers(tmp_path, text, value):
    assert parse_args(["--background", text]).background == value
    assert parse_args(["-c", recipe(tmp_path, f"background: {text}")]).background == value
    written = recipe(tmp_path, yaml.safe_dump(parse_args(["--background", text]).plain()))
    assert parse_args(["-c", written]).background == value  # config.yaml is read again


@pytest.mark.parametrize("text", ["", "red", "256,0,0", "-1,0,0", "1,2", "1,2,3,4", "1.5,0,0", "0x1,0,0"])
def test_what_is_no_background(text):
    with pytest.raises(
        ValueError, match="background: (is empty|.* is no colour: white, gray, black, or red, green and)"
    ):
        parse_args([f"--background={text}"])


def test_another_background_changes_results():
    assert parse_args([]).keys["background"].changes is Changes.RESULTS


@pytest.fixture
def weights(tmp_path):
    """A checkpoint whose card says what it was trained with."""
    arrays = {"conv1.weight": np.zeros((2, 3, 3, 3), np.float32)}
    card = Card(model="resnet18", stem="small", padding="torch", stages=2, image_resize=48, background="1,2,3")
    checkpoint.write(tmp_path / "a.ckpt", arrays, replace(card, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]))
    return str(tmp_path / "a.ckpt")


@pytest.mark.parametrize("command", ["train", "validate"])
def test_what_nobody_says_follows_the_card_of_the_weights(tmp_path, weights, command, caplog):
    caplog.set_level(logging.INFO)
    found = parse_args(["--ckpt_path", weights], command)
    assert (found.model, found.stem, found.padding, found.stages) == ("resnet18", "small", "torch", 2)
    assert (found.image_resize, found.background) == (48, "1,2,3")
    assert (found.mean, found.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert "a.ckpt: model resnet18, stem small, padding torch, stages 2, image_resize 48, mean [1.0" in caplog.text
    path = recipe(tmp_path, f"stem: imagenet\nckpt_path: {weights}")
    over = parse_args(["-c", path, "--image_resize", "96", "--background", "black"], command)
    assert (over.stem, over.image_resize, over.background, over.model) == ("imagenet", 96, "black", "resnet18")
    assert "model" not in over.given


def test_a_card_that_says_what_cannot_be(tmp_path, weights):
    arrays, card = checkpoint.read(weights)
    checkpoint.write(weights, arrays, replace(card, image_resize=8192))
    with pytest.raises(ValueError, match="a.ckpt: its model card: 8192 is above 4096"):
        parse_args(["--ckpt_path", weights])
    assert parse_args(["--ckpt_path", weights, "--image_resize", "32"]).image_resize == 32
    (tmp_path / "text").write_text("no weights")
    for path in (tmp_path / "text", tmp_path / "none", tmp_path):  # who opens it says why it cannot be read
        assert parse_args(["--ckpt_path", str(path)]).model == "resnet50"
