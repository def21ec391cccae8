"""MNIST's layout: files that the test writes byte by byte, whole, gzipped and damaged."""

import gzip
import pickle
import struct

import numpy as np
import pytest

from mindbyol.data.sources import create_source, fingerprint

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 4), np.uint8)


@pytest.fixture
def folder(tmp_path, images):
    (tmp_path / IMAGES).write_bytes(idx(images))
    (tmp_path / LABELS).write_bytes(idx(np.array([2, 0, 1, 1, 0, 2, 0], np.uint8)))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:2])))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([3, 0], np.uint8))))
    return tmp_path


def test_both_splits_are_read_as_published(folder, images):
    train, test = create_source("mnist", folder), create_source("mnist", folder, "val")
    assert train.labels.tolist() == [2, 0, 1, 1, 0, 2, 0] and train.labels.dtype == np.int32
    assert test.labels.tolist() == [3, 0] and len(test) == 2
    np.testing.assert_array_equal(train[6], np.stack([images[6]] * 3, 2))
    np.testing.assert_array_equal(test[1], np.stack([images[1]] * 3, 2))
    assert train[6].dtype == np.uint8 and train[6].shape == (5, 4, 3)
    assert train.description == "7 images, 4 classes, mnist train" and train.name(3) == "mnist/train/3"


def test_a_class_that_only_one_split_has_is_a_class_of_both(folder):
    assert create_source("mnist", folder).class_names == ["0", "1", "2", "3"]
    assert create_source("mnist", folder, "test").class_names == ["0", "1", "2", "3"]


def test_a_source_is_small_when_it_travels_to_a_worker(folder):
    source = create_source("mnist", folder)
    travelling = pickle.dumps(source)
    assert len(travelling) < 1000
    again = pickle.loads(travelling)
    np.testing.assert_array_equal(again[4], source[4])
    assert fingerprint(again) == fingerprint(source)


def test_what_is_not_there_is_named(folder):
    with pytest.raises(ValueError, match="^dataset: mnist has no split 'extra'; choose one of train, test"):
        create_source("mnist", folder, "extra")
    (folder / LABELS).unlink()
    with pytest.raises(FileNotFoundError, match=f"^data_dir: {LABELS}, the labels of {IMAGES}, is not in"):
        create_source("mnist", folder)
    (folder / IMAGES).unlink()
    with pytest.raises(FileNotFoundError, match=f"^data_dir: neither {IMAGES} nor the same with .gz is in"):
        create_source("mnist", folder)


def cut(data):
    return data[:-1]


def longer(data):
    return data + b"\0"


def no_bytes(data):
    return data[:2] + b"\x0d" + data[3:]


def vast(data):
    return data[:4] + b"\xff" * 12 + data[16:]


def empty(data):
    return data[:4] + bytes(4) + data[8:16]


@pytest.mark.parametrize(
    "damage, message",
    [
        (cut, "says that it holds 7 x 5 x 4 = 140 bytes, and holds 139: it is damaged; fetch it again"),
        (longer, "says that it holds 7 x 5 x 4 = 140 bytes, and holds more: it is damaged"),
        (no_bytes, "is no IDX file of bytes in 3 dimensions: it is damaged"),
        (lambda data: data[:7], "is no IDX file of bytes in 3 dimensions"),
        (lambda data: b"", "is no IDX file of bytes in 3 dimensions"),
        (vast, "says that it holds 4294967295 x .* bytes, and holds 0: it is damaged"),
        (empty, "holds no images"),
    ],
)
@pytest.mark.parametrize("suffix, packed", [("", bytes), (".gz", gzip.compress)])
def test_a_damaged_file_is_an_error_of_one_line(folder, damage, message, suffix, packed):
    data = (folder / IMAGES).read_bytes()
    (folder / IMAGES).unlink()
    (folder / (IMAGES + suffix)).write_bytes(packed(damage(data)))
    with pytest.raises(ValueError, match=f"^data_dir: .*{IMAGES}{suffix} {message}"):
        create_source("mnist", folder)


@pytest.mark.parametrize("damage", [cut, lambda packed: packed[:20], lambda packed: packed[:30] + b"\0" + packed[31:]])
def test_a_gzip_file_that_cannot_be_unpacked_is_an_error(folder, damage):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="^data_dir: .*ubyte.gz (cannot be unpacked|says that it holds)"):
        create_source("mnist", folder, "test")


def test_as_many_labels_as_images(folder):
    (folder / LABELS).write_bytes(idx(np.zeros(6, np.uint8)))
    with pytest.raises(ValueError, match="^data_dir: .* holds 6 labels for the 7 images of train; fetch both again"):
        create_source("mnist", folder)
