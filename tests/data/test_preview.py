"""The preview shows what training sees."""

import os
import re
import shutil
from pathlib import Path

import cv2
import pytest
from PIL import Image

from mindbyol.commands import preview


def test_the_preview_is_a_png_of_the_asked_for_images(jpegs, tmp_path, capsys):
    output = tmp_path / "views.png"
    preview.main(["--output", str(output), "--images", "2", "--dataset", "folder", "--data_dir", str(jpegs)])
    assert cv2.imread(str(output)).shape[:2] == (755, 962)
    assert "2 images of 24 images, no labels" in capsys.readouterr().out


def test_the_recipe_of_its_help_is_there():
    (recipe,) = re.findall(r"configs/\S+\.yaml", preview.__doc__)
    assert (Path(preview.__file__).parents[2] / recipe).is_file()


@pytest.mark.parametrize(
    "name, magic", [("a.JPG", b"\xff\xd8"), ("a.webp", b"RIFF"), ("a.pdf", b"%PDF"), ("a.svg", b"<?xml")]
)
def test_the_suffix_chooses_the_format(jpegs, tmp_path, name, magic):
    flags = ["--images", "1", "--dataset", "folder", "--data_dir", str(jpegs), "--output"]
    preview.main([*flags, str(tmp_path / name)])
    assert (tmp_path / name).read_bytes().startswith(magic)


@pytest.mark.parametrize("name", ["a.bmp", "a", "a.png.gz"])
def test_an_unknown_suffix_is_one_line(jpegs, tmp_path, name):
    with pytest.raises(SystemExit, match=r"^error: --output: '.*' ends in none of .png, .jpg, [^\n]*$"):
        preview.main(["--dataset", "folder", "--data_dir", str(jpegs), "--output", str(tmp_path / name)])


def test_unreadable_images_are_replaced_as_in_training_or_stop(jpegs, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(jpegs / "04.jpg", folder)
    (folder / "03.jpg").write_bytes(b"no image")
    flags = ["--output", str(tmp_path / "a.png"), "--images", "2", "--dataset", "folder", "--data_dir", str(folder)]
    preview.main(flags)
    assert re.search(
        r"\n   row [12]: 03.jpg cannot be read, 04.jpg takes its place as in training\n$", capsys.readouterr().out
    )
    with pytest.raises(SystemExit, match="^error: 03.jpg: not an image that OpenCV or Pillow can decode$"):
        preview.main([*flags, "--on_bad_image", "stop"])


def test_what_the_font_cannot_draw_is_replaced_and_named(jpegs, tmp_path, capsys, recwarn):
    assert preview.drawable("a мир\n\u4f60\U0001f389") == "a мир\n\ufffd\ufffd"
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(jpegs / "00.jpg", folder / "\u4f60\U0001f389.jpg")
    preview.main(["--output", str(tmp_path / "a.png"), "--dataset", "folder", "--data_dir", str(folder)])
    assert "   row 1: \u4f60\U0001f389.jpg\n" in capsys.readouterr().out
    assert not [warning for warning in recwarn if "missing from font" in str(warning.message)]


def test_the_preview_has_the_background_of_the_recipe(tmp_path):
    Image.new("RGBA", (40, 40)).save(tmp_path / "clear.png")
    flags = ["--output", str(tmp_path / "a.png"), "--images", "1", "--dataset", "folder", "--data_dir", str(tmp_path)]
    preview.main([*flags, "--background", "255,0,0"])
    original = cv2.imread(str(tmp_path / "a.png"))[150, 150]
    assert original.tolist() == [0, 0, 255]  # OpenCV's order: blue, green, red


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
    os.mkfifo(tmp_path / "fifo.png")
    with pytest.raises(SystemExit, match="error: .*fifo.png: no regular file, so nothing is written there"):
        preview.main(["--dataset", "folder", "--data_dir", str(jpegs), "--output", str(tmp_path / "fifo.png")])
    assert (tmp_path / "fifo.png").is_fifo()


def test_errors_are_one_line(tmp_path):
    with pytest.raises(SystemExit, match="error: /nowhere/views.png: the folder /nowhere does not exist"):
        preview.main(["--dataset", "folder", "--data_dir", str(tmp_path), "--output", "/nowhere/views.png"])
    with pytest.raises(SystemExit, match="error: data_dir: .*nowhere is not a folder"):
        preview.main(["--dataset", "folder", "--data_dir", str(tmp_path / "nowhere")])
