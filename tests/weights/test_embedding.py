"""Features of a folder: the right rows under the right names, however many ranks and interruptions."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import foreign
import numpy as np
import pytest

from mindspore import ops

from mindbyol.data import EvalTransform, LoaderSettings, create_source
from mindbyol.evaluation import embedding
from mindbyol.evaluation.embedding import Embedding
from mindbyol.weights.torch_files import write_zip

ROOT = Path(__file__).resolve().parents[2]
COUNT = 23


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for index in range(COUNT):
        place = folder / f"album {index % 3}"
        place.mkdir(parents=True, exist_ok=True)
        colour = np.full((40, 50, 3), (index * 10, 250 - index * 10, 100), np.uint8)
        cv2.imwrite(str(place / f"{index:02d}.png"), colour)
    return folder


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(embedding, "PART", 8)


def mean_colour(images):
    return ops.mean(images.astype("float32"), (2, 3))


def embed(photos, output, identity="weights", extractor=mean_colour, **ranks):
    source = create_source("folder", str(photos), split=".")
    settings = LoaderSettings(4, **ranks)
    return Embedding(source, EvalTransform(16), output, identity, settings).run(extractor, progress=False)


def expected(photos):
    files = sorted(photos.rglob("*.png"))
    colours = [cv2.imread(str(file))[0, 0, ::-1].astype(np.float32) for file in files]
    return dict(zip((str(file.relative_to(photos)) for file in files), colours))


def check(found, photos):
    assert found["features"].dtype == np.float32
    assert sorted(found["names"]) == sorted(expected(photos))
    for name, row in zip(found["names"], found["features"]):
        np.testing.assert_array_equal(row, expected(photos)[str(name)])


def test_npz(photos, tmp_path):
    assert embed(photos, tmp_path / "out.npz")
    check(np.load(tmp_path / "out.npz"), photos)
    assert sorted(os.listdir(tmp_path)) == ["out.npz", "photos"]


def test_csv(photos, tmp_path):
    assert embed(photos, tmp_path / "out.csv")
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert rows[0] == ["name", "f0", "f1", "f2"]
    features = np.array([row[1:] for row in rows[1:]], np.float32)
    check({"names": [row[0] for row in rows[1:]], "features": features}, photos)


def test_parquet(photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    assert embed(photos, tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    check({"names": table["name"], "features": np.array(table["features"], np.float32)}, photos)


def test_ranks_share_the_parts(photos, tmp_path):
    assert not embed(photos, tmp_path / "out.npz", rank=1, ranks=2)
    assert not (tmp_path / "out.npz").exists()
    assert embed(photos, tmp_path / "out.npz", rank=0, ranks=2)
    embed(photos, tmp_path / "alone.npz")
    found, alone = np.load(tmp_path / "out.npz"), np.load(tmp_path / "alone.npz")
    for key in ("features", "names"):
        np.testing.assert_array_equal(found[key], alone[key])


def test_goes_on_where_it_was_stopped(photos, tmp_path):
    seen = []

    def failing(images):
        if len(seen) == 4:
            raise RuntimeError("power cut")
        seen.append(images)
        return mean_colour(images)

    with pytest.raises(RuntimeError, match="power cut"):
        embed(photos, tmp_path / "out.npz", extractor=failing)
    batches = []
    assert embed(photos, tmp_path / "out.npz", extractor=lambda images: batches.append(1) or mean_colour(images))
    assert len(batches) == 4  # of 6: the first part, two batches, was there
    check(np.load(tmp_path / "out.npz"), photos)


def test_parts_of_other_weights_are_not_mixed_in(photos, tmp_path):
    assert not embed(photos, tmp_path / "out.npz", rank=0, ranks=2)
    with pytest.raises(
        ValueError, match="out.npz.parts: holds unfinished features of other weights, size, crop, background or batch"
    ):
        embed(photos, tmp_path / "out.npz", identity="others")


@pytest.mark.parametrize("bad", [1, 3, COUNT - 1])
def test_unreadable_images_are_named_and_left_out(photos, tmp_path, caplog, bad):
    files = sorted(photos.rglob("*.png"))[-bad:]
    for file in files:
        file.write_bytes(b"no image")
    assert embed(photos, tmp_path / "out.npz") == (COUNT - bad, 3, bad)
    found = np.load(tmp_path / "out.npz")
    for file in files:
        name = str(file.relative_to(photos))
        assert (
            f"{name} cannot be read (not an image that OpenCV or Pillow can decode): it is left out" in caplog.messages
        )
        file.unlink()
    check(found, photos)
    left_out = "is left out" if bad == 1 else "are left out"
    assert caplog.messages[-1] == f"{bad} of 23 images cannot be read and {left_out}"


def test_the_first_unreadable_image_may_stop_it(photos, tmp_path):
    bad = sorted(photos.rglob("*.png"))[-1]
    bad.write_bytes(b"no image")
    with pytest.raises(
        RuntimeError, match=f"^{bad.relative_to(photos)}: not an image that OpenCV or Pillow can decode"
    ):
        embed(photos, tmp_path / "out.npz", on_bad_image="stop")
    bad.unlink()
    batches = []
    embed(photos, tmp_path / "out.npz", extractor=lambda images: batches.append(1) or mean_colour(images))
    assert len(batches) == 2  # of 6: goes on with the part that was mended


def test_transparent_images_lie_on_the_background(tmp_path):
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos/clear.png"), np.zeros((20, 20, 4), np.uint8))
    for name, options in (("white.npz", {}), ("red.npz", {"background": (255, 0, 0)})):
        embed(tmp_path / "photos", tmp_path / name, **options)
    assert np.load(tmp_path / "white.npz")["features"].tolist() == [[255, 255, 255]]
    assert np.load(tmp_path / "red.npz")["features"].tolist() == [[255, 0, 0]]


def test_without_a_readable_image_there_are_no_features(photos, tmp_path):
    contents = {file: file.read_bytes() for file in photos.rglob("*.png")}
    for file in contents:
        file.write_bytes(b"no image")
    with pytest.raises(RuntimeError, match="none of 23 images, no labels, folder .* can be read"):
        embed(photos, tmp_path / "out.npz")
    assert os.listdir(tmp_path) == ["photos"]


@pytest.mark.parametrize("kind", ["npz", "csv", "parquet"])
def test_odd_names_are_written_escaped(tmp_path, kind):
    parquet = pytest.importorskip("pyarrow.parquet", exc_type=ImportError) if kind == "parquet" else None
    folder, output = tmp_path / "photos", tmp_path / f"out.{kind}"
    folder.mkdir()
    for name in (b"latin-\xe9.png", b"two\nlines.png", "Ünï.png".encode()):
        encoded = cv2.imencode(".png", np.full((20, 20, 3), len(name), np.uint8))[1].tobytes()
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(encoded)
    assert embed(folder, output)
    if kind == "npz":
        names = np.load(output)["names"].tolist()
    elif kind == "csv":
        names = [line.split(",")[0] for line in output.read_text(encoding="utf-8").splitlines()][1:]
    else:
        names = parquet.read_table(output).to_pydict()["name"]
    assert sorted(names) == sorted([r"latin-\xe9.png", r"two\x0alines.png", "Ünï.png"])


@pytest.fixture
def stopped(photos, tmp_path):
    """Two of three parts, the others' work, of a run whose first image could not be read."""
    first = sorted(photos.rglob("*.png"))[0]
    content = first.read_bytes()
    first.write_bytes(b"no image")
    times = first.stat()
    assert not embed(photos, tmp_path / "out.npz", rank=0, ranks=2)
    return first, content, times


def test_an_image_that_was_mended_makes_its_part_anew(photos, tmp_path, stopped, caplog):
    first, content, _ = stopped
    first.write_bytes(content)
    batches = []
    assert embed(photos, tmp_path / "out.npz", extractor=lambda images: batches.append(1) or mean_colour(images))
    assert len(batches) == 4  # of 6: the third part was there
    check(np.load(tmp_path / "out.npz"), photos)
    assert "images have changed since they were embedded: 1 of 2 parts in" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["out.npz", "photos"]


def test_an_image_that_was_removed_starts_anew(photos, tmp_path, stopped):
    stopped[0].unlink()
    assert embed(photos, tmp_path / "out.npz")
    check(np.load(tmp_path / "out.npz"), photos)


def test_an_image_that_could_not_be_read_is_tried_again(photos, tmp_path, stopped, caplog):
    caplog.set_level("INFO")
    first, content, times = stopped
    first.write_bytes(b"no image")  # As after a fault of the storage: the file is the same.
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    batches = []
    assert embed(photos, tmp_path / "out.npz", extractor=lambda images: batches.append(1) or mean_colour(images))
    assert len(batches) == 4  # of 6: the part without an unreadable image was kept
    assert "1 images of" in caplog.text and "could not be read: trying again" in caplog.text


@pytest.mark.parametrize("size", [0, 100, -30])
def test_a_part_that_was_cut_off_is_made_anew(photos, tmp_path, caplog, size):
    assert not embed(photos, tmp_path / "out.npz", rank=0, ranks=2)
    part = sorted((tmp_path / "out.npz.parts").glob("*.npz"))[0]
    part.write_bytes(part.read_bytes()[:size])
    assert embed(photos, tmp_path / "out.npz")
    check(np.load(tmp_path / "out.npz"), photos)
    assert f"{part} is damaged: it is made anew" in caplog.messages


def test_a_part_with_a_wrong_bit_is_named(photos, tmp_path):
    assert not embed(photos, tmp_path / "out.npz", rank=0, ranks=2)
    part = sorted((tmp_path / "out.npz.parts").glob("*.npz"))[0]
    content = bytearray(part.read_bytes())
    content[content.index(b"\n", content.index(b"NUMPY")) + 1] ^= 1
    part.write_bytes(content)
    with pytest.raises(RuntimeError, match=f"{part.name} was damaged .Bad CRC-32.* and is removed; start again"):
        embed(photos, tmp_path / "out.npz")
    assert embed(photos, tmp_path / "out.npz")
    check(np.load(tmp_path / "out.npz"), photos)


def test_parts_are_on_the_disk_before_they_have_their_names(photos, tmp_path, monkeypatch):
    events = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *paths, name=name, call=call: events.append(name) or call(*paths))
    assert embed(photos, tmp_path / "out.npz")
    assert events == ["fsync", "replace", "fsync"] * 4  # the file, its name, the folder


def test_what_cannot_be_written(photos, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="^output: .*must end in .npz, .csv, .parquet"):
        embed(photos, tmp_path / "out.txt")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match="needs pyarrow; pip install -r requirements-export.txt"):
        embed(photos, tmp_path / "out.parquet")


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_command(photos, tmp_path, ranks):
    checkpoint = tmp_path / "resnet18.pth"
    arrays = {name: 0.01 * np.abs(array) for name, array in foreign.make().items()}  # so that no feature overflows
    write_zip(checkpoint, foreign.torch_names(foreign.part(arrays, "online.backbone.")))
    arguments = [ROOT / "scripts" / "embed.py", "--ckpt_path", checkpoint, "--data_dir", photos]
    arguments += ["-o", tmp_path / "out.npz", "--image_resize", "64", "--batch_size", "8"]
    launch = ["msrun", "--worker_num", "2", "--local_worker_num", "2", "--join", "True"]
    launch += ["--log_dir", tmp_path / "log", "--master_port", "8917"]
    command = [sys.executable, *arguments] if ranks == 1 else [*launch, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = np.load(tmp_path / "out.npz")
    assert found["features"].shape == (COUNT, 512)
    assert f"out.npz: features {COUNT} x 512, float32, and as many names" in done.stdout + done.stderr or ranks == 2
    assert sorted(found["names"]) == sorted(expected(photos))
