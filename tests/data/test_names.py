"""Names of files that are not what names usually are: escaped where they are printed or listed."""

import os

import numpy as np
import pytest

from mindbyol.commands import preview
from mindbyol.data.bad_images import BadImages
from mindbyol.data.loader import LoaderSettings, PretrainLoader
from mindbyol.data.names import printable
from mindbyol.data.sources import create_source
from mindbyol.data.views import TwoViewTransform

ODD = [
    b"tab\tand\nline.jpg",
    b"\x1b[31mred.jpg",
    b"latin-\xe9.jpg",
    rb"back\x0aslash.jpg",
    "\u202egpj.exe.jpg".encode(),
]
ESCAPED = [
    r"tab\x09and\x0aline.jpg",
    r"\x1b[31mred.jpg",
    r"latin-\xe9.jpg",
    r"back\x5cx0aslash.jpg",
    r"\u202egpj.exe.jpg",
]


def test_odd_characters_are_escaped():
    assert [printable(os.fsdecode(name)) for name in ODD] == ESCAPED
    assert all(escaped.isprintable() and escaped.encode() for escaped in ESCAPED)


@pytest.mark.parametrize("name", ["a b/1.jpg", "写真　1.jpg", "Ünï.jpg", r"C:\photos\one.jpg", "👩‍🔬.jpg"])
def test_ordinary_names_stay(name):
    assert printable(name) == name


def test_different_names_stay_different():
    names = ["a\x85b", os.fsdecode(b"a\x85b"), r"a\x85b", r"a\u0085b", r"a\x5cx85b", "a\\\x85b", "a\\b", "a\x0ab"]
    assert len({printable(name) for name in names}) == len(names)


@pytest.fixture
def odd(tmp_path, write_jpegs):
    """A folder of 20 photographs and of files with odd names that hold no image, as bytes that are not UTF-8 exist."""
    folder = tmp_path / "photos"
    folder.mkdir()
    write_jpegs(folder, 20)
    for name in ODD:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(b"no image")
    return folder


def test_bad_images_are_listed_one_a_line_and_read_back(odd, tmp_path, caplog):
    source = create_source("folder", odd)
    indices = np.arange(len(source))
    replaced = [(0, 0, {int(i): "why\nnot"}) for i in indices if not source.name(i)[:2].isdigit()]
    for _ in range(2):
        bad = BadImages(source, tmp_path)
        for one in replaced:
            bad._reasons.clear()  # Each alone is within the limit.
            bad.replace(indices, [one])
    lines = (tmp_path / "bad_images.txt").read_bytes().decode("utf-8").split("\n")
    assert sorted(lines) == sorted(["", *(f"{name}\twhy not" for name in ESCAPED)])
    assert len(caplog.messages) == 5 and all(message.isprintable() for message in caplog.messages)


def test_a_run_that_stops_names_them_escaped(odd, tmp_path):
    with pytest.raises(RuntimeError, match="^dataset: 5 of 25 .* cannot be read, more than 1%; mend") as stopped:
        list(
            PretrainLoader(
                create_source("folder", odd), TwoViewTransform(32), LoaderSettings(25, output_dir=tmp_path), 1
            )
        )
    assert all(name in str(stopped.value) for name in ESCAPED)
    assert str(stopped.value).isprintable()
    assert len((tmp_path / "bad_images.txt").read_text().splitlines()) == 5


def test_any_number_may_be_replaced_if_that_is_asked_for(odd, tmp_path):
    settings = LoaderSettings(25, output_dir=tmp_path, on_bad_image="skip_any")
    source = create_source("folder", odd)
    assert len(list(PretrainLoader(source, TwoViewTransform(32), settings, 1))) == 1
    assert len((tmp_path / "bad_images.txt").read_text().splitlines()) == 5


def test_a_bad_images_file_that_is_no_file_is_refused(odd, tmp_path):
    os.mkfifo(tmp_path / "bad_images.txt")
    with pytest.raises(ValueError, match="^ckpt_save_dir: .*bad_images.txt is not a file; remove it"):
        PretrainLoader(create_source("folder", odd), TwoViewTransform(32), LoaderSettings(25, output_dir=tmp_path), 1)


def test_the_preview_shows_odd_names(odd, tmp_path, photos):
    import cv2

    folder = tmp_path / "odd"
    folder.mkdir()
    encoded = cv2.imencode(".png", photos[0])[1].tobytes()
    for name in (b"latin-\xe9\n.png", b"$\\broken{$.png"):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(encoded)
    output = tmp_path / "views.png"
    preview.main(["--output", str(output), "--images", "2", "--dataset", "folder", "--data_dir", str(folder)])
    assert output.stat().st_size > 1000
