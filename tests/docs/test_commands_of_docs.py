"""Each command of the docs is one that its own parser takes; what cannot run here says what it needs."""

import importlib
import re

import pytest

from mindbyol.command import Parser
from mindbyol.commands import COMMANDS
from mindbyol.config import parse_args
from tests.docs.blocks import PAGES, ROOT, blocks

BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language == "shell"]
# Commands that are not ours, and what of them can be looked at.
OTHERS = {"pip", "mim", "export", "pre-commit", "pytest", "git", "cd", "."}
MSRUN = {"bind_core", "worker_num", "local_worker_num", "join", "master_addr", "master_port", "node_rank"}
MSRUN |= {"cluster_time_out", "log_dir"}


def check_files(words):
    """Of a command with flags that are not ours: the files of the repository that it names are there.

    Raises:
        AssertionError: One is not.
    """
    for word in words:
        assert not word.startswith("scripts/") or (ROOT / word).exists(), f"{word} is not there"


class Parsed(Exception):
    """A command has read its flags, and stops before it does anything."""


class StopsWhenParsed(Parser):
    """Stands for a command's parser. What it leaves over are train.py's flags, see preview, grid and few-labels."""

    def parse_args(self, args=None, namespace=None):
        self.whole = True
        super().parse_args(args, namespace)
        raise Parsed

    def parse_known_args(self, args=None, namespace=None):
        own, rest = super().parse_known_args(args, namespace)
        if not getattr(self, "whole", False):
            parse_args(rest, "train")
            raise Parsed
        return own, rest


def check_flags(name, argv, monkeypatch):
    """Lets the parser of a module of `mindbyol.commands` read flags.

    Raises:
        SystemExit: They are wrong.
    """
    module = importlib.import_module(f"mindbyol.commands.{name}")
    monkeypatch.setattr(module, "Parser", StopsWhenParsed)
    with pytest.raises(Parsed):
        module.main(argv)


def check(words, monkeypatch):
    """Raises when a command is not there, or does not take its flags."""
    first, *rest = words
    if first == "msrun":
        flags = [word for word in rest[: rest.index("python")] if word.startswith("--")]
        unknown = {re.match(r"--(\w+)", flag)[1] for flag in flags} - MSRUN
        assert not unknown, f"msrun has no --{unknown}"
        return check(rest[rest.index("python") :], monkeypatch)
    if first == "bash":
        assert (ROOT / rest[0]).is_file(), f"{rest[0]} is not there"
        if rest[0].endswith("run_distribute_train_ascend.sh"):
            return check(["python", *rest[2:]], monkeypatch)
        if rest[0].endswith("stl10_experiment.sh"):
            return check_flags("stl10_experiment", rest[1:], monkeypatch)
        return None
    if first == "mindbyol":
        return check_flags(COMMANDS[rest[0]][0], rest[1:], monkeypatch)
    if first == "python":
        script = ROOT / rest[0]
        assert rest[0] == "-m" or script.is_file(), f"{rest[0]} is not there"
        if rest[0] in ("train.py", "validate.py"):
            parse_args(rest[1:], rest[0][:-3])
        elif script.parent.name == "scripts":
            name = re.search(r"from mindbyol\.commands\.(\w+) import main", script.read_text())[1]
            check_flags(name, rest[1:], monkeypatch)
        else:
            check_files(rest)
        return None
    assert first in OTHERS, f"{first}: a command that this test does not know"
    for word, value in zip(rest, rest[1:]):
        assert word != "-r" or (ROOT / value).is_file(), f"{value} is not there"
    check_files(rest)


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.where)
def test_commands_are_there_and_take_their_flags(block, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert block.commands()
    for words in block.commands():
        check(words, monkeypatch)


def test_every_block_says_what_it_is():
    unknown = [block.where for block in BLOCKS if block.language not in ("shell", "python", "yaml", "text")]
    assert not unknown, f"a language is missing: shell, python, yaml or text: {unknown}"


@pytest.mark.parametrize("block", [b for b in SHELL if b.needs is None], ids=lambda block: block.where)
def test_what_needs_nothing_uses_the_digits_alone(block, monkeypatch):
    """Or it belongs under `# needs: ...`, see docs/contributing.md."""
    monkeypatch.chdir(ROOT)
    assert "msrun" not in block.text or "--worker_num 2" in block.text
    for words in block.commands():
        script = next((word for word in words if word in ("train.py", "validate.py")), None)
        if script:
            recipe = parse_args(words[words.index(script) + 1 :], script[:-3])
            digits = recipe.values.get("dataset", "digits") == "digits" or "digits" in recipe.config
            assert digits, f"{' '.join(words)}: needs data that the repository has not got"


def test_the_checks_find_what_is_wrong(monkeypatch):
    monkeypatch.chdir(ROOT)
    for line in (
        "python train.py --base_lrr 1",
        "python train.py --config configs/byol/none.yaml",
        "msrun --workers 8 python train.py",
        "bash scripts/none.sh",
        "python scripts/embed.py --ckpt x --data_dir y -o z.npz",
        "python scripts/preview.py --image_size 9",
        "mindbyol inspect",
        "pip install -r requirements-none.txt",
        "mim train mmdet scripts/bridge/configs/none.py",
        "python scripts/bridge/detectron2_train.py --config-file scripts/bridge/none.yaml",
        "rm -r /",
    ):
        with pytest.raises((SystemExit, ValueError, OSError, AssertionError)):
            check(line.split(), monkeypatch)
