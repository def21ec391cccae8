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

from mindbyol.data import EvalTransform, create_source
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
    return Embedding(source, EvalTransform(16), output, identity, 4, **ranks).run(extractor, progress=False)


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
    with pytest.raises(ValueError, match="out.npz.parts: holds unfinished features of other weights"):
        embed(photos, tmp_path / "out.npz", identity="others")


def test_unreadable_images_are_left_out(photos, tmp_path):
    bad = photos / "album 1" / "04.png"
    bad.write_bytes(b"no image")
    assert embed(photos, tmp_path / "out.npz")
    found = np.load(tmp_path / "out.npz")
    bad.unlink()
    check(found, photos)


def test_what_cannot_be_written(photos, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="must end in .npz, .csv, .parquet"):
        embed(photos, tmp_path / "out.txt")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match="needs pyarrow: pip install -r requirements-export.txt"):
        embed(photos, tmp_path / "out.parquet")


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_command(photos, tmp_path, ranks):
    checkpoint = tmp_path / "resnet18.pth"
    arrays = {name: np.abs(array) for name, array in foreign.make().items()}
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
    assert sorted(found["names"]) == sorted(expected(photos))
