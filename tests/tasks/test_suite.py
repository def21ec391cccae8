"""A suite from its command to its tables: left out, gone on with, and equal to each protocol on its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mindbyol import checkpoint
from mindbyol.backbones import create_backbone
from mindbyol.commands import validate
from mindbyol.config import parse_args
from mindbyol.evaluation import results
from mindbyol.evaluation.suite import Evaluation
from mindbyol.model_card import Card
from tests import tiny_model  # noqa: F401  (registers the model)
from tests.tasks.tiny import VALIDATE

SHARED = {"dataset": "digits", "image_resize": 16, "model": "tiny", "num_parallel_workers": 1, "batch_size": 64}
SHARED["interpolation"] = "bilinear"
PROTOCOLS = {
    "near": {"task": "knn", "knn_k": "[1, 5]", "crop_pct": 1},
    "path": {"task": "transfer", "l2_count": 2, "holdout_per_class": 20, "crop_pct": 1},
    "heads": {"task": "linear", "epoch_size": 5, "opt": "sgd", "lr": 3, "cache_features": "True", "crop_pct": 1},
    "absent": {"task": "knn", "dataset": "imagenet"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint, a suite and its protocols, scored once."""
    folder = tmp_path_factory.mktemp("suite")
    backbone = create_backbone("tiny", image_size=16)
    arrays = {p.name: p.asnumpy() for p in backbone.get_parameters()}
    card = Card(kind="backbone", model="tiny", stem="imagenet", padding="mindcv", image_resize=16)
    checkpoint.write(folder / "tiny.ckpt", arrays, card)
    for name, keys in PROTOCOLS.items():
        write(folder / f"protocols/{name}.yaml", {**SHARED, **keys})
    names = ", ".join(f"protocols/{name}.yaml" for name in PROTOCOLS)
    write(folder / "suite.yaml", {"task": "suite", "protocols": f"[{names}]", "folders": "[., ., ., nowhere]"})
    score(folder)
    return folder


def write(path, keys):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(f"{key}: {value}" for key, value in keys.items()))


def score(folder, *flags):
    flags = ["--suite_dir", str(folder / "out"), "--data_dir", str(folder), "--mode", "1", *map(str, flags)]
    validate.main(["--config", str(folder / "suite.yaml"), "--ckpt_path", str(folder / "tiny.ckpt"), *flags])


def read_tables(folder):
    return json.loads((folder / "out/tables.json").read_text())


def test_each_protocol_scores_as_it_does_alone(folder):
    tables = {table["title"]: table["rows"] for table in read_tables(folder)["tables"]}
    assert list(tables) == list(PROTOCOLS) and tables["absent"] == {}
    assert tables["heads"]["top1"][0] > 20  # chance is 10
    alone = ["--config", str(folder / "protocols/near.yaml"), "--ckpt_path", str(folder / "tiny.ckpt"), "--mode", "1"]
    validate.main([*alone, "--results", str(folder / "alone.jsonl")])
    records = map(json.loads, (folder / "alone.jsonl").read_text().splitlines())
    assert tables["near"] == {record["score"]: [record["value"]] for record in records}


def test_what_has_no_data_is_left_out_and_named(folder):
    why = read_tables(folder)["left_out"]
    assert list(why) == ["absent"] and why["absent"].startswith("data_dir: ") and "nowhere" in why["absent"]
    assert f"- absent: {why['absent']}" in (folder / "out/tables.md").read_text()


def test_protocols_that_share_features_share_their_file(folder):
    # kNN, transfer and the classifiers on features see the same two splits of digits.
    assert len(list((folder / "out/features").glob("*.npy"))) == 2


def test_what_is_done_is_not_done_again(folder, capsys):
    before = (folder / "out/scores.jsonl").read_text()
    lines = [line for line in before.splitlines() if json.loads(line)["recipe"] != "path.yaml"]
    (folder / "out/scores.jsonl").write_text("\n".join(lines) + "\n")
    made = {file: file.stat().st_mtime_ns for file in (folder / "out").rglob("*") if file.suffix in (".npy", ".ckpt")}
    score(folder)
    printed = capsys.readouterr().out
    assert "near was scored before" in printed and "heads was scored before" in printed
    assert "path: protocol 2 of 4" in printed
    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert sorted(results.check_file(folder / "out/scores.jsonl")) == sorted(before.splitlines())


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"protocols": "[protocols/near.yaml]", "folders": "[., .]"}, "folders: 2 folders for 1 protocols"),
        ({"protocols": "[a/near.yaml, b/near.yaml]", "folders": "[., .]"}, "protocols: near stands there more than"),
        ({"protocols": "[none.yaml]", "folders": "[.]"}, "no recipe '"),
        ({"protocols": "[protocols/absent.yaml]", "folders": "[.]"}, "no protocol of the suite can be run; absent: "),
        ({}, "protocols: names no recipe"),
    ],
)
def test_a_suite_that_cannot_be_run_is_refused_in_a_line(folder, tmp_path, keys, message):
    write(tmp_path / "suite.yaml", {"task": "suite", **keys})
    (tmp_path / "protocols").symlink_to(folder / "protocols")
    (tmp_path / "tiny.ckpt").symlink_to(folder / "tiny.ckpt")
    with pytest.raises(SystemExit) as error:
        score(tmp_path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_layers_that_the_backbone_has_not_are_said_before_anything_is_scored(folder, tmp_path):
    write(tmp_path / "near.yaml", {**SHARED, **PROTOCOLS["near"]})
    write(tmp_path / "deep.yaml", {**SHARED, "task": "multihead", "layers": "[feature5]"})
    write(tmp_path / "suite.yaml", {"task": "suite", "protocols": "[near.yaml, deep.yaml]", "folders": "[., .]"})
    flags = ["--data_dir", str(tmp_path), "--suite_dir", str(tmp_path / "out"), "--mode", "1"]
    recipe = parse_args(
        ["-c", str(tmp_path / "suite.yaml"), "--ckpt_path", str(folder / "tiny.ckpt"), *flags], "validate"
    )
    near, deep = Evaluation(recipe).protocols
    assert near.missing is None and "'tiny' has no stages that could be told" in deep.missing


def test_a_checkpoint_is_needed(folder):
    with pytest.raises(SystemExit, match="ckpt_path: which checkpoint is to be scored"):
        validate.main(["--config", str(folder / "suite.yaml"), "--suite_dir", str(Path(folder) / "other")])


def linear_alone(folder, tmp_path, **keys):
    """A suite of the linear protocol alone, in a folder of its own."""
    for name in ("out", "protocols"):
        (tmp_path / name).mkdir()
    (tmp_path / "tiny.ckpt").symlink_to(folder / "tiny.ckpt")
    write(
        tmp_path / "protocols/heads.yaml", {**SHARED, **PROTOCOLS["heads"], "epoch_size": 1, "num_samples": 192, **keys}
    )
    write(tmp_path / "suite.yaml", {"task": "suite", "protocols": "[protocols/heads.yaml]", "folders": "[.]"})
    return tmp_path


def test_other_weights_or_settings_train_classifiers_of_their_own(folder, tmp_path):
    suite = linear_alone(folder, tmp_path)
    score(suite)
    arrays, card = checkpoint.read(folder / "tiny.ckpt")
    (suite / "tiny.ckpt").unlink()
    arrays = {name: array * 2 if "conv" in name else array for name, array in arrays.items()}
    checkpoint.write(suite / "tiny.ckpt", arrays, card)
    score(suite)
    write(
        suite / "protocols/heads.yaml", {**SHARED, **PROTOCOLS["heads"], "epoch_size": 1, "num_samples": 192, "lr": 1}
    )
    score(suite)
    records = [json.loads(line) for line in (suite / "out/scores.jsonl").read_text().splitlines()]
    made_of = {(r["weights"], r["settings"]["lr"]) for r in records}
    assert len({weights for weights, _ in made_of}) == 2 and len(made_of) == 3
    assert json.loads((suite / "out/tables.json").read_text())["weights"] in {r["weights"] for r in records[-3:]}
    assert len(list((suite / "out").glob("heads-*"))) == 3


@pytest.mark.parametrize(
    "keys, message",
    [({"batch_size": 5000}, "batch_size: a step takes 5000 images"), ({"lr": "3.0e+38"}, "heads: the loss is ")],
)
def test_what_ends_a_protocol_is_said_in_a_line(folder, tmp_path, keys, message):
    with pytest.raises(SystemExit) as error:
        score(linear_alone(folder, tmp_path, **keys))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_lines_of_other_scores_are_passed_over_and_a_file_is_no_suite_dir(folder, tmp_path):
    (linear_alone(folder, tmp_path) / "out/scores.jsonl").write_text('{"score": "of something else"}\n')
    (tmp_path / "file").touch()
    score(tmp_path)
    assert len((tmp_path / "out/scores.jsonl").read_text().splitlines()) == 4
    with pytest.raises(SystemExit, match="suite_dir: cannot make '.*file'"):
        score(tmp_path, "--suite_dir", tmp_path / "file")


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(folder, tmp_path):
    suite = linear_alone(folder, tmp_path)
    score(suite)
    (suite / "out/scores.jsonl").unlink()
    (run,) = (suite / "out").glob("heads-*")
    for file in run.glob("tiny-*.ckpt"):
        file.unlink()
    assert (run / "tiny_best.ckpt").exists()
    score(suite)
    assert (run / "tiny_best.ckpt.old").exists() and (run / "tiny-1_3.ckpt").exists()


@pytest.mark.slow
def test_a_suite_that_is_killed_again_and_again_ends_with_the_same_scores(folder, tmp_path):
    argv = [sys.executable, VALIDATE, "--config", folder / "suite.yaml", "--ckpt_path", folder / "tiny.ckpt"]
    argv += ["--data_dir", folder, "--mode", "1", "--suite_dir", tmp_path / "out"]

    def killed_at(text):
        """Starts the suite, and kills it when it has said something: whether it came to that."""
        process = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = any(text in line for line in process.stdout)
        process.kill()
        process.communicate()
        return said

    for moment in (
        "path: protocol 2 of 4",
        "l2 ",
        "heads: protocol 3 of 4",
        "Epoch: [1/5]",
        "Epoch: [3/5]",
        "finished 5",
    ):
        assert killed_at(moment), moment
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "near was scored before" in done.stdout

    def scores(path):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        assert len({(r["recipe"], r["score"]) for r in records}) == len(records)
        return {(r["recipe"], r["score"]): r["value"] for r in records}

    assert scores(tmp_path / "out/scores.jsonl") == pytest.approx(scores(folder / "out/scores.jsonl"))
    assert json.loads((tmp_path / "out/tables.json").read_text()) == read_tables(folder)
