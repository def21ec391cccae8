"""Features for protocols: computed once, kept on disk, and never those of something else."""

import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from mindspore import nn, ops

from mindbyol.checkpoint import NonFinite
from mindbyol.config import parse_args
from mindbyol.data.image_files import Subset
from mindbyol.data.sources import create_source
from mindbyol.data.views import EvalTransform
from mindbyol.evaluation import feature_files, tools
from mindbyol.evaluation.subjects import Scored
from mindbyol.evaluation.tools import Constant, Tools
from mindbyol.runtime import World

FLAGS = "--dataset digits --image_resize 8 --crop_pct 1 --batch_size 4 --num_parallel_workers 1 --mode 1"


class Scale(nn.Cell):
    """Ten features: `factor` times pixels of the first row."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def construct(self, x):
        return ops.concat((x[:, 0, 0], x[:, 0, 1]), 1)[:, :10] * self.factor


class Twice(nn.Cell):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def construct(self, x):
        return 2 * self.backbone(x)


TWICE = SimpleNamespace(name="twice", cell=Twice)


def trained(digest="a", factor=1.0):
    return Scored("trained", Scale(factor), digest=digest)


@pytest.fixture(scope="module")
def source():
    return create_source("digits", num_samples=10)


@pytest.fixture
def computed(monkeypatch):
    """The number of batches that were computed."""
    batches = []
    whole = tools.extract

    def counting(*args):
        for part in whole(*args):
            batches.append(part)
            yield part

    monkeypatch.setattr(tools, "extract", counting)
    return batches


def open_tools(folder=None, *flags):
    kept = ["--features_dir", str(folder)] if folder else []
    return Tools(parse_args([*FLAGS.split(), *kept, *flags], "validate"), World("CPU"))


def pixels_of(source):
    rows = [EvalTransform(8, 1.0)(source[i])["image"][0, :2].reshape(-1)[:10] for i in range(len(source))]
    return np.array(rows, np.float32)


def test_features_of_subjects_transforms_and_read_outs_are_told_apart(source, computed):
    """In memory, and each computed once."""
    mine, subject = open_tools(), trained()
    features, labels = mine.features(subject, source)
    np.testing.assert_array_equal(features, pixels_of(source))
    np.testing.assert_array_equal(labels, source.labels)
    assert features.dtype == np.float32 and not features.flags.writeable
    assert len(computed) == 3
    assert mine.features(subject, source)[0] is features and len(computed) == 3
    np.testing.assert_array_equal(mine.features(subject, source, read_out=TWICE)[0], 2 * features)
    cropped = mine.features(subject, source, transform=EvalTransform(8, 0.5))[0]
    assert not np.array_equal(cropped, features) and len(computed) == 9
    assert mine.features(subject, source, transform=EvalTransform(8, 0.5))[0] is cropped and len(computed) == 9
    np.testing.assert_array_equal(mine.features(trained("b", 3.0), source)[0], 3 * features)


def test_features_on_disk_are_taken_again(source, computed, tmp_path):
    subject = trained()
    features, _ = open_tools(tmp_path).features(subject, source)
    np.testing.assert_array_equal(features, pixels_of(source))
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("trained-") and np.array_equal(np.load(file, mmap_mode="r"), features)
    again, labels = open_tools(tmp_path).features(trained(), source)
    assert len(computed) == 3 and isinstance(again, np.memmap) and not again.flags.writeable
    np.testing.assert_array_equal(again, features)
    np.testing.assert_array_equal(labels, source.labels)


def test_of_other_weights_images_or_settings_there_are_none_on_disk(source, computed, tmp_path):
    open_tools(tmp_path).features(trained(), source)
    cases = [
        ((), trained("b", 2.0), source, {}),
        ((), trained()._replace(mean=(1.0, 0.0, 0.0)), source, {}),
        ((), trained(), Subset(source, np.arange(9)), {}),
        ((), trained(), Subset(source, [*range(9), 8]), {}),
        ((), trained(), source, {"transform": EvalTransform(8, 0.5)}),
        ((), trained(), source, {"read_out": TWICE}),
        (("--crop_pct", "0.5", "--interpolation", "bilinear"), trained(), source, {}),
        (("--on_bad_image", "stop"), trained(), source, {}),
        (("--background", "black"), trained(), source, {}),
    ]
    for number, (flags, subject, images, options) in enumerate(cases, 1):
        before = len(computed)
        open_tools(tmp_path, *flags).features(subject, images, **options)
        assert len(computed) == before + 3, cases[number - 1]
        assert len(list(tmp_path.iterdir())) == number + 1


def cut_off(file):
    file.write_bytes(file.read_bytes()[:-700])


def changed(file):
    data = bytearray(file.read_bytes())
    data[150] ^= 1  # in the rows
    file.write_bytes(data)


def of_another_name(file):
    facts = {"subject": "another"}
    feature_files.write(file, facts, 1, [(0, np.zeros((1, 10), np.float32), np.zeros(1, int))])


def something_else(file):
    file.write_text("not features")


@pytest.mark.parametrize(
    "harm, said",
    [(cut_off, "damaged"), (changed, "damaged"), (of_another_name, "something else"), (something_else, "damaged")],
)
def test_a_damaged_or_foreign_file_is_made_anew(source, computed, tmp_path, caplog, harm, said):
    caplog.set_level(logging.WARNING, "mindbyol")
    open_tools(tmp_path).features(trained(), source)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    harm(file)
    features, _ = open_tools(tmp_path).features(trained(), source)
    np.testing.assert_array_equal(features, pixels_of(source))
    assert said in caplog.text and str(file) in caplog.text and len(computed) == 6
    assert file.read_bytes() == whole


@pytest.mark.parametrize("on_disk", [False, True])
def test_features_that_are_no_numbers(source, tmp_path, on_disk):
    with pytest.raises(
        NonFinite, match="^ckpt_path: the trained features of 10 of 10 of .*digits.* are NaN or infinite"
    ):
        open_tools(tmp_path if on_disk else None).features(trained(factor=float("nan")), source)
    assert not list(tmp_path.iterdir())


class Flat(nn.Cell):
    """Features that are alike but for what rounding does."""

    def construct(self, x):
        return ops.ones((len(x), 4)) + 1e-9 * x[:, 0, :1, :4].reshape(len(x), 4)


@pytest.mark.parametrize("on_disk", [False, True])
def test_features_that_are_the_same_for_all_images(source, tmp_path, on_disk):
    mine = open_tools(tmp_path if on_disk else None)
    with pytest.raises(
        Constant, match="^ckpt_path: the trained features of all of 10 of .*digits.* are equal, so there"
    ):
        mine.features(Scored("trained", Flat(), digest="a"), source)
    assert not list(tmp_path.iterdir())
    assert len(mine.features(Scored("trained", Flat(), digest="a"), Subset(source, [3]))[0]) == 1  # equal to what?


def test_an_image_that_was_replaced_keeps_the_label_of_the_one_in_its_place(tmp_path):
    photo = load_sample_image("flower.jpg")
    for number, name in enumerate(("a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg")):
        file = tmp_path / "images/train" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), photo[99 * number :, :200])
    (tmp_path / "images/train/a/1.jpg").write_bytes(b"no image")
    images = create_source("imagenet", str(tmp_path / "images"))
    feature_files.check_folder(tmp_path / "features")
    for _ in range(2):  # computed, then from disk
        _, labels = open_tools(tmp_path / "features").features(Scored("pixels", None), images)
        np.testing.assert_array_equal(labels, [0, 1, 1, 1])


def test_a_folder_that_cannot_be_made_or_is_too_small(source, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="^features_dir: .*; name a folder that can be written to"):
        feature_files.check_folder(tmp_path / "file")
    monkeypatch.setattr(feature_files.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 399}))
    with pytest.raises(OSError, match="^features_dir: the features take .* left; name another folder, or leave"):
        open_tools(tmp_path).features(trained(), source)  # 10 x 10 x 4 bytes
