"""The preview shows what training sees."""

import os
import re
import shutil
from pathlib import Path

import cv2
import pytest

from mindbyol.commands import preview


def test_the_preview_is_a_png_of_the_asked_for_images(jpegs, tmp_path, capsys):
    output = tmp_path / "views.png"
    preview.main(["--output", str(output), "--images", "2", "--dataset", "folder", "--data_dir", str(jpegs)])
    assert cv2.imread(str(output)).shape[:2] == (688, 720)
    assert "2 images of 24 images, no labels" in capsys.readouterr().out


def test_the_recipe_of_its_help_is_there():
    (recipe,) = re.findall(r"configs/\S+\.yaml", preview.__doc__)
    assert (Path(preview.__file__).parents[2] / recipe).is_file()


def test_operations_are_named_in_their_order():
    operations = [("crop", (1, 2, 30, 40)), ("flip", None), ("saturation and hue", (0.9, -0.05)), ("blur", 1.234)]
    assert preview.describe(operations + [("solarize", 128)]).splitlines() == [
        "crop 40 x 30 at 2, 1",
        "flip",
        "saturation 0.90",
        "hue -0.050",
        "blur 1.23",
        "solarize from 128",
    ]


def test_names_that_are_no_text_and_the_images_of_num_samples(jpegs, tmp_path, capsys):
    folder = tmp_path / "names"
    folder.mkdir()
    for name in (b"\xff.jpg", b"$x_{$.jpg", b"a\n.jpg", b"plain.jpg"):
        shutil.copy(next(jpegs.rglob("*.jpg")), os.path.join(os.fsencode(folder), name))
    flags = ["--output", str(tmp_path / "views.png"), "--dataset", "folder", "--data_dir", str(folder)]
    preview.main(flags)
    assert "4 images of 4 images" in capsys.readouterr().out
    preview.main([*flags, "--num_samples", "1"])
    assert "1 images of 1 of 4 images" in capsys.readouterr().out


def test_what_is_no_regular_file_is_not_written_over(tmp_path, jpegs):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SystemExit, match="error: .*fifo: no regular file, so nothing is written there"):
        preview.main(["--dataset", "folder", "--data_dir", str(jpegs), "--output", str(tmp_path / "fifo")])
    assert (tmp_path / "fifo").is_fifo()


def test_errors_are_one_line(tmp_path):
    with pytest.raises(SystemExit, match="error: /nowhere/views.png: the folder /nowhere does not exist"):
        preview.main(["--dataset", "folder", "--data_dir", str(tmp_path), "--output", "/nowhere/views.png"])
    with pytest.raises(SystemExit, match="error: data_dir: .*nowhere is not a folder"):
        preview.main(["--dataset", "folder", "--data_dir", str(tmp_path / "nowhere")])
