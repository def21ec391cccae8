"""The command that writes mindbyol's checkpoint of anybody's: what it writes, what it says, what it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import foreign
import pytest
from foreign import arrays_of

from mindbyol import checkpoint
from mindbyol.weights.convert import convert
from mindbyol.weights.torch_files import write_zip

ROOT = Path(__file__).resolve().parents[2]


def test_backbone_alone_is_written_with_mindcv_names(tmp_path):
    source, output = tmp_path / "source.pth", tmp_path / "converted.ckpt"
    write_zip(source, foreign.torch_names(foreign.part(arrays_of(), "online.backbone.")))
    convert(source, output)
    arrays, card = checkpoint.read(output)
    assert set(arrays) == set(foreign.part(arrays_of(), "online.backbone."))
    assert (card.model, card.stem, card.padding) == ("resnet18", "imagenet", "torch")
    assert card.mean == [123.675, 116.28, 103.53]


def run(*arguments, **options):
    command = [sys.executable, ROOT / "scripts" / "convert_checkpoint.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_command(tmp_path):
    source, output = tmp_path / "epoch_200.pth", tmp_path / "byol.ckpt"
    write_zip(source, {"meta": {"epoch": 200}, "state_dict": foreign.mmselfsup1(arrays_of())})
    done = run(source, "-o", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "found mmselfsup 1.x, full checkpoint, epoch 200"
    assert "target backbone 100/100 loaded" in done.stdout
    assert done.stdout.splitlines()[-1] == f"wrote {output} (resnet18, stem imagenet, padding torch)"
    assert sorted(os.listdir(tmp_path)) == ["byol.ckpt", "epoch_200.pth"]


def test_command_says_errors_in_one_line(tmp_path):
    source = tmp_path / "source.pth"
    source.write_bytes(b"")
    done = run(source, "-o", tmp_path / "out.ckpt")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {source}: the file is empty\n"


@pytest.mark.parametrize(
    "output, message",
    [
        ("", "a folder; name the file to write"),
        ("out.pth", "must end in .ckpt"),
        ("none/out.ckpt", "does not exist"),
    ],
)
def test_output_is_checked_first(tmp_path, output, message):
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "not even looked at.pth", tmp_path / output)


def test_no_permission_to_write(tmp_path, monkeypatch):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write anywhere: ask as another user would
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    with pytest.raises(ValueError, match="no permission to write in .*closed"):
        convert(tmp_path / "source.pth", folder / "out.ckpt")
