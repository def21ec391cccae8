"""Output files: whole or not at all, whatever stands in their place and however the process ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mindbyol.files import UNFINISHED, check_output, check_replaceable, remove_unfinished, replacing

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from mindbyol.files import replacing
with replacing(sys.argv[1]) as beside:
    beside.write_text("half of it")
    beside.with_suffix(".tmp").write_text("of a library")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def write(path, text="new"):
    with replacing(path) as beside:
        beside.write_text(text)
        beside.with_suffix(".tmp").write_text("left by a library")


def test_a_file_takes_its_place_and_nothing_else_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing("a.ckpt") as beside:
        assert beside.name == "a.ckpt" and beside.is_absolute() and list(beside.parent.iterdir()) == []
        monkeypatch.chdir("/")  # as an export does
        beside.write_text("new")
        beside.chmod(0o400)
        assert not (tmp_path / "a.ckpt").exists()
    assert os.listdir(tmp_path) == ["a.ckpt"] and (tmp_path / "a.ckpt").read_text() == "new"
    assert (tmp_path / "a.ckpt").stat().st_mode & 0o777 == 0o644
    write(tmp_path / "a.ckpt", "newer")
    assert os.listdir(tmp_path) == ["a.ckpt"] and (tmp_path / "a.ckpt").read_text() == "newer"


def test_after_a_failure_the_old_file_is_there_and_nothing_else(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # nothing was written
    assert os.listdir(tmp_path) == ["a.ckpt"] and path.read_text() == "old"


def test_what_a_killed_process_left_is_removed(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL and path.read_text() == "old"
    assert [left.name for left in tmp_path.glob(UNFINISHED)] == [".a.ckpt.partial"]
    write(path)
    assert os.listdir(tmp_path) == ["a.ckpt"] and path.read_text() == "new"
    subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT)
    (tmp_path / ".b.png.partial").write_text("a file, of an earlier version")
    remove_unfinished(tmp_path)
    assert os.listdir(tmp_path) == ["a.ckpt"]
    (tmp_path / ".a.ckpt.partial").write_text("a file, of an earlier version")
    write(path)
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_of_a_link_the_file_that_it_points_to_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "a.ckpt"
    link.symlink_to("disk/b.ckpt")
    for text in ("first", "second"):
        write(check_output(link, ".ckpt"), text)
        assert link.is_symlink() and (tmp_path / "disk" / "b.ckpt").read_text() == text
    assert os.listdir(tmp_path / "disk") == ["b.ckpt"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    (tmp_path / "link").symlink_to(os.devnull)
    for path in (pipe, folder, tmp_path / "link"):
        with pytest.raises(OSError, match="no regular file, so nothing is written there; name a new one$"):
            write(path)
    for path in (pipe, tmp_path / "link"):
        with pytest.raises(ValueError, match="no regular file, so nothing is written there"):
            check_output(path)
    assert pipe.is_fifo() and not list(tmp_path.glob(UNFINISHED))


def test_no_mindspore_is_needed():
    code = "import sys, mindbyol.files; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_what_a_killed_process_has_left_is_in_nobodys_way(tmp_path):
    (tmp_path / ".scores.jsonl.partial").mkdir()
    (tmp_path / ".scores.jsonl.partial" / "scores.jsonl").write_text("half")
    check_replaceable(tmp_path / "scores.jsonl")
    with replacing(tmp_path / "scores.jsonl") as beside:
        beside.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.jsonl"]
    check_replaceable(tmp_path / "other.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.jsonl"]
    with pytest.raises(OSError, match="cannot write '.*nowhere/scores.jsonl' .No such file"):
        check_replaceable(tmp_path / "nowhere" / "scores.jsonl")
