"""mindbyol.pretrain, load and embed in one process, as a notebook has them."""

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

import mindspore as ms

import mindbyol
import tests.tiny_model  # noqa: F401  (the model `tiny`)
from mindbyol.commands import embed as embed_command
from mindbyol.data import DataError, create_source
from mindbyol.runtime import pynative
from mindbyol.training.signals import StopSignals

LINEAR = Path(__file__).parents[2] / "configs/linear/linear_digits_cpu.yaml"
SMALL = {
    "model": "tiny",
    "image_resize": 16,
    "batch_size": 8,
    "warmup_epochs": 0,
    "base_lr": 0.5,
    "projector_hidden_size": 16,
    "projection_size": 8,
    "predictor_hidden_size": 16,
    "num_parallel_workers": 1,
    "log_interval": 1,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """16 JPEGs cut from photographs, in two folders, and a file that is none."""
    folder = tmp_path_factory.mktemp("api") / "photos"
    for index in range(16):
        (folder / f"album {index % 2}").mkdir(parents=True, exist_ok=True)
        pixels = load_sample_images().images[index % 2][20 * index :, 30 * index :][:48, :64]
        Image.fromarray(pixels).save(folder / f"album {index % 2}" / f"{index:02d}.jpg")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    return mindbyol.pretrain(photos, epochs=2, ckpt_save_dir=tmp_path_factory.mktemp("run") / "a b", **SMALL)


@pytest.fixture(scope="module")
def backbone(run):
    return mindbyol.load(run.folder)


def test_import_is_light_and_knows_the_functions():
    program = "import sys, mindbyol; assert 'mindspore' not in sys.modules and 'numpy' not in sys.modules\n"
    program += "assert {'pretrain', 'load', 'embed'} < set(dir(mindbyol))\n"
    program += "try: mindbyol.pretrian\nexcept AttributeError as error: print(error)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "module 'mindbyol' has no attribute 'pretrian'\n"


def test_a_run_leaves_the_files_of_train_py(run):
    assert run.finished
    assert {"config.yaml", "metrics.jsonl", "rank0.log", "bad_images.txt"} < {
        file.name for file in run.folder.iterdir()
    }
    assert run.checkpoint == run.folder / "tiny-2_4_backbone.ckpt"
    assert [(line["epoch"], line["step"]) for line in run.metrics] == [(1, 1), (1, 2), (2, 3), (2, 4)]
    assert all(0 < line["byol_loss"] < 8 for line in run.metrics)


def test_an_interrupted_second_run_goes_on_to_the_same_and_leaves_everything_as_it_was(
    photos, tmp_path, monkeypatch, run, backbone
):
    class Interrupt(logging.Handler):
        def emit(self, record):
            if "batch: [1/2]" in record.getMessage():
                os.kill(os.getpid(), signal.SIGINT)

    def found():
        root = logging.getLogger()
        return root.handlers[:], root.level, (run.folder / "rank0.log").stat().st_size, ms.get_context("mode")

    monkeypatch.chdir(tmp_path)
    log, interrupt, before = logging.getLogger("mindbyol.training.log"), Interrupt(), found()
    log.addHandler(interrupt)
    try:
        with pynative():
            stopped = mindbyol.pretrain(str(photos), epochs=2, **SMALL)
            assert ms.get_context("mode") == ms.PYNATIVE_MODE
    finally:
        log.removeHandler(interrupt)
    assert str(stopped.folder) == "ckpt/photos" and not stopped.finished and stopped.metrics[-1]["step"] < 4
    descriptor = os.open(stopped.folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another process may go on in it
    os.close(descriptor)
    with pytest.raises(ValueError, match="holds the checkpoints of an earlier run"):
        mindbyol.pretrain(photos, epochs=2, **SMALL)
    assert mindbyol.pretrain(photos, epochs=2, resume=True, **SMALL).finished
    assert mindbyol.load("ckpt/photos").digest == backbone.digest
    assert found() == before


def test_signals_are_left_alone_in_a_thread():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with StopSignals() as signals:
            seen.append((signals.received, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start(), thread.join()
    assert seen == [(None, before)]


def test_a_backbone_knows_its_card(run, backbone):
    assert backbone.path == str(run.checkpoint) and mindbyol.load(run.checkpoint).digest == backbone.digest
    card = backbone.card
    assert (card.model, card.image_resize, card.epoch, card.step) == ("tiny", 16, 2, 4)
    assert "tiny" in repr(backbone) and "16 features" in repr(backbone) and len(repr(backbone)) < 300


def test_features_are_those_of_the_command(photos, tmp_path, backbone, caplog):
    features, names = mindbyol.embed(backbone, photos, batch_size=4, progress=False)
    assert features.shape == (16, 16) and features.dtype == np.float32 and names.shape == (16,)
    assert "broken.jpg cannot be read" in caplog.text
    output = tmp_path / "out.npz"
    embed_command.main(f"--ckpt_path|{backbone.path}|--data_dir|{photos}|-o|{output}|--batch_size|4".split("|"))
    written = np.load(output)
    np.testing.assert_array_equal(written["features"], features)
    np.testing.assert_array_equal(written["names"], names)
    assert (photos / str(names[3])).is_file()


def test_a_source_of_images_can_be_embedded(run):
    digits = create_source("digits", split="val", num_samples=20)
    features, names = mindbyol.embed(run.folder, digits, progress=False)
    assert features.shape == (20, 16) and names[0] == digits.name(0)
    assert len(np.unique(features, axis=0)) == 20


def test_a_folder_of_nothing_but_damage(backbone, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="^data: none of 1 images, no labels, folder .* can be read; are they images"):
        mindbyol.embed(backbone, tmp_path, progress=False)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda p: mindbyol.pretrain(p, epoch=3), r"^mindbyol.pretrain: unknown key 'epoch'; nearest: epoch"),
        (lambda p: mindbyol.pretrain(p, epochs=0), "^mindbyol.pretrain: epoch_size: 0 is below 1"),
        (lambda p: mindbyol.pretrain(p, epochs=3, epoch_size=3), "^epoch_size: is given twice, also as epochs"),
        (lambda p: mindbyol.pretrain(config=LINEAR), "^task: pretrain is for byol; train.py does linear"),
        (lambda p: mindbyol.pretrain(p / "no"), "^data_dir: .*no is not a folder; name the one that holds the images$"),
        (lambda p: mindbyol.pretrain(epochs=3), "^data: name a folder of images, or a recipe as config$"),
        (lambda p: mindbyol.load(p), "photos: no checkpoint of a run in this folder; name the file"),
        (lambda p: mindbyol.load(p / "no.ckpt"), "no.ckpt: no such file"),
        (lambda p: mindbyol.load(p / "no.ckpt", image_size=0), "^image_size: 0 is not 8 to 4096"),
        (lambda p: mindbyol.embed(p, p), "photos: no checkpoint of a run in this folder; name the file"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(photos, tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        call(photos)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words, message", [((3, "."), "^backbone: .*, not 3"), ((None, 3), "^data: takes .*, not 3")])
def test_what_is_of_another_kind_is_named(backbone, words, message):
    subject, images = words
    with pytest.raises(TypeError, match=message):
        mindbyol.embed(subject or backbone, images)
