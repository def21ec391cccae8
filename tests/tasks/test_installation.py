"""`pip install .`: the three commands, beside MindCV, whose modules it must not hide."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the installed package, and with modules called as those of a checkout of MindCV are."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):  # pip builds in the folder of the source
        if name.startswith(("mindbyol/", "requirements", "pyproject", "README", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    result = subprocess.run([*pip, "--target", target, source], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return target


def run(installed, *argv, code=0):
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    result = subprocess.run(argv, cwd=installed, env=environ, capture_output=True, text=True)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_nothing_but_the_package_is_installed(installed):
    names = {path.name for path in installed.iterdir()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"mindbyol", "bin"}
    assert {path.name for path in (installed / "bin").iterdir()} == {"mindbyol", "mindbyol-train", "mindbyol-validate"}


def test_the_commands_run(installed):
    assert "--base_tau" in run(installed, sys.executable, installed / "bin" / "mindbyol-train", "--help")
    assert "--knn_k" in run(installed, sys.executable, installed / "bin" / "mindbyol-validate", "--help")
    mindbyol = sys.executable, installed / "bin" / "mindbyol"
    assert "make-mindrecord" in run(installed, *mindbyol)
    assert "checkpoint file" in run(installed, *mindbyol, "inspect", "--help")
    assert run(installed, *mindbyol, "inspct", code=1).startswith(
        "mindbyol: inspct: no such command; there are compare, convert"
    )


def test_it_stands_beside_mindcv(installed, tmp_path):
    for name in ("config", "train", "validate"):  # of a checkout of MindCV, which is on the path then
        (tmp_path / f"{name}.py").write_text("OF = 'MindCV'\n")
    program = "import config, train, validate, mindcv, mindbyol.commands.train, mindbyol.commands.validate\n"
    program += "print(config.OF, train.OF, validate.OF, mindbyol.__file__, mindcv.__name__)"
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{installed}"}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["MindCV", "MindCV", "MindCV", str(installed / "mindbyol/__init__.py"), "mindcv"]
