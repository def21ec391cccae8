"""Command lines that a run ends with: as the user started it, and whole where a path has spaces."""

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mindbyol.next_command import embedding, scoring, typed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "started, validate, embed",
    [
        ("train.py", ["python", "validate.py"], ["python", "scripts/embed.py"]),
        ("./train.py", ["python", "validate.py"], ["python", "scripts/embed.py"]),
        ("scripts/grid.py", ["python", "validate.py"], ["python", "scripts/embed.py"]),
        (f"{ROOT}/train.py", ["python", f"{ROOT}/validate.py"], ["python", f"{ROOT}/scripts/embed.py"]),
        ("/usr/bin/mindbyol-train", ["mindbyol-validate"], ["mindbyol", "embed"]),
        ("/elsewhere/notebook_server.py", ["mindbyol-validate"], ["mindbyol", "embed"]),
        ("", ["mindbyol-validate"], ["mindbyol", "embed"]),
    ],
)
def test_a_command_is_called_as_the_user_started_this_one(monkeypatch, started, validate, embed):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [started])
    assert shlex.split(typed("validate")) == validate
    assert shlex.split(typed("embed", "--data_dir", "my photos")) == [*embed, "--data_dir", "my photos"]


def test_flags_are_quoted_and_follow_the_run(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mindbyol-train"])
    recipe = SimpleNamespace(distribute=True, device_target="CPU", data_dir="it's $HOME")
    weights = Path("a run") / "b.ckpt"
    assert shlex.split(scoring(recipe, weights, val_split="test")) == [
        *("mindbyol-validate", "--config", "a run/config.yaml", "--ckpt_path", "a run/b.ckpt"),
        *("--val_split", "test", "--distribute", "False"),
    ]
    assert shlex.split(embedding(recipe, weights, "out.npz")) == [
        *("mindbyol", "embed", "--ckpt_path", "a run/b.ckpt", "--data_dir", "it's $HOME"),
        *("-o", "out.npz", "--device_target", "CPU"),
    ]
    alone = SimpleNamespace(distribute=None, device_target=None, data_dir="photos")
    assert "--distribute" not in scoring(alone, weights) and "--device_target" not in embedding(alone, weights, "a")
