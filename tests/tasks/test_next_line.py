"""The last line of a run is a command that works: here what it says is run."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mindbyol.commands import embed, validate
from tests.tasks import classifiers, tiny, tiny_train

ROOT = Path(__file__).parents[2]
COMMANDS = {"validate.py": validate.main, "embed.py": embed.main}
SHORT = {"epoch_size": 1, "ckpt_save_dir": None}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Where commands are started that know the tiny model: a folder with a space in its name."""
    folder = tmp_path / "my code"
    (folder / "scripts").mkdir(parents=True)
    for name, module in (("train", "tiny_train"), ("validate", "tiny_validate"), ("scripts/embed", "tiny_train")):
        main = "embed" if "embed" in name else name
        (folder / f"{name}.py").write_text(
            f"import sys\nsys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests/tasks')!r}]\n"
            f"import {module}\nfrom mindbyol.commands import {main}\n"
            f"({module if name == 'train' else main}).main()\n"
        )
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return folder


@pytest.fixture
def photos(repository):
    """Twelve pictures of two colours in a folder with a space and an apostrophe in its name, without labels."""
    folder = repository / "it's mine" / "deep"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (20, 24, 4), np.uint8)).save(folder / f"{number}.png")
    return folder.parent


def train(capsys, folder, **recipe):
    """Trains in this process: the words of the last line's command."""
    tiny_train.main(tiny.arguments(folder, **{"num_samples": 32, "epoch_size": 1, **recipe})[1:])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "] next: " in line]
    words = shlex.split(line.partition("] next: ")[2])
    assert words[0] == "python" and Path(words[1]).is_file()
    return words


def run(words):
    COMMANDS[Path(words[1]).name](words[2:])


def test_images_without_labels_are_embedded(photos, capsys):
    folder = {"dataset": "folder", "data_dir": None, "num_samples": None, "batch_size": 4, "background": "black"}
    words = [sys.argv[0], "--data_dir", str(photos.relative_to(Path.cwd()))]
    argv = tiny.arguments("runs of today", **{**folder, "epoch_size": 1})[1:]
    tiny_train.main([*argv, *words[1:]])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "] next: " in line]
    words = shlex.split(line.partition("] next: ")[2])
    assert words[:2] == ["python", "scripts/embed.py"]
    run(words)
    assert "features 12 x 16, float32" in capsys.readouterr().out
    assert np.load("runs of today/features.npz")["features"].shape == (12, 16)
    tiny_train.main(["--config", "runs of today/config.yaml", "--resume"])
    said = capsys.readouterr().out
    assert (
        "all 1 epochs are done already" in said and "tiny-1_3.ckpt' --ckpt_save_dir NEW_FOLDER --epoch_size N" in said
    )
    assert "compiling" not in said and "WARNING" not in said  # every key is in the file, though nobody asked for it


def test_labelled_images_are_scored_with_the_recipe_of_the_run(repository, capsys):
    words = train(capsys, "runs of today", val_split="val", knn_k="1 5", crop_pct=1)
    assert words[:2] == ["python", "validate.py"]
    run([*words, "--results", "scores.jsonl"])
    records = [json.loads(line) for line in Path("scores.jsonl").read_text().splitlines()]
    assert {record["score"] for record in records} == {f"knn{k}_top{t}" for k in (1, 5) for t in (1, 5)}
    assert records[0]["settings"]["num_samples"] == 32 and records[0]["settings"]["model"] == "tiny"


def test_a_classifier_is_scored_with_the_recipe_of_its_run(repository, capsys):
    classifiers.write_backbone(repository / "a b.ckpt", "tiny")
    keys = {**classifiers.LINEAR, "epoch_size": 1, "lr": 0.5, "cache_features": True}
    argv = [*classifiers.flags(keys), "--ckpt_path", "a b.ckpt", "--ckpt_save_dir", "heads of today"]
    tiny_train.main(argv)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "] next: " in line]
    words = shlex.split(line.partition("] next: ")[2])
    run([*words, "--results", "scores.jsonl"])
    metrics = [json.loads(line) for line in Path("heads of today/metrics.jsonl").read_text().splitlines()]
    records = {r["score"]: r["value"] for r in map(json.loads, Path("scores.jsonl").read_text().splitlines())}
    assert records["top1"] == pytest.approx(metrics[-1]["val_top1"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("labels", [True, False])
def test_the_line_runs_in_a_shell(photos, labels):
    data = {} if labels else {"dataset": "folder", "data_dir": "it's", "num_samples": None, "batch_size": 4}
    argv = tiny.arguments("runs of today", script="train.py", **{"num_samples": 32, "epoch_size": 1, **data})
    argv = [word if word != "it's" else "it's mine" for word in argv]
    done = subprocess.run([sys.executable, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "] next: " in line]
    command = line.partition("] next: ")[2].replace("python", shlex.quote(sys.executable), 1)
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("knn10_top1" if labels else "wrote runs of today/features.npz") in done.stdout
