"""Sources: real files in the layouts that people have, and a clear error for what is not one."""

import hashlib
import pickle
import tarfile

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mindbyol.config import parse_args
from mindbyol.data import binary_files, source_from_args
from mindbyol.data.sources import create_source


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MINDBYOL_CACHE", str(tmp_path_factory.mktemp("cache")))


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def names(source):
    return [source.name(index) for index in range(len(source))]


def test_a_folder_is_read_at_any_depth_in_sorted_order(tmp_path):
    touch(tmp_path, "b/2.PNG", "z.jpg", "b/1.jpeg", "a.JPG", "b/c/3.webp", "b/notes.txt", ".hidden.jpg", ".git/x.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.JPG")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    source = create_source("folder", tmp_path)
    assert names(source) == ["a.JPG", "link.jpg", "z.jpg", "b/1.jpeg", "b/2.PNG", "b/c/3.webp"]
    assert source[3] == b"b/1.jpeg" and source[1] == b"a.JPG"
    assert source.labels is None and source.class_names is None
    assert source.description.startswith("6 images, no labels")


def test_a_folder_with_the_split_as_sub_folder_uses_that(tmp_path):
    touch(tmp_path, "train/1.jpg", "val/2.jpg")
    assert names(create_source("folder", tmp_path)) == ["1.jpg"]
    assert names(create_source("folder", tmp_path, "val")) == ["2.jpg"]
    with pytest.raises(FileNotFoundError, match="^data_dir: .*test is not there; .* holds train, val"):
        create_source("folder", tmp_path, "test")


def test_class_folders_give_labels(tmp_path):
    touch(tmp_path, "train/dog/1.jpg", "train/dog/more/2.jpg", "train/cat/3.jpg", "train/stray.jpg")
    source = create_source("imagenet", tmp_path)
    assert names(source) == ["cat/3.jpg", "dog/1.jpg", "dog/more/2.jpg"]
    assert source.labels.tolist() == [0, 1, 1] and source.labels.dtype == np.int32
    assert source.class_names == ["cat", "dog"]


def test_an_empty_class_folder_is_an_error(tmp_path):
    touch(tmp_path, "train/dog/1.jpg", "train/cat/notes.txt")
    with pytest.raises(ValueError, match="^data_dir: the class folder .*cat holds no image"):
        create_source("imagenet", tmp_path)


@pytest.mark.parametrize("prefix", ["train/", ""])
def test_list_files_give_labels(tmp_path, prefix):
    touch(tmp_path, "train/a/1 one.jpg", "train/b/2.jpg")
    (tmp_path / "train_list.txt").write_text(f"{prefix}b/2.jpg 1\n{prefix}a/1 one.jpg 0\n\n")
    source = create_source("imagenet", tmp_path)
    assert names(source) == [f"{prefix}b/2.jpg", f"{prefix}a/1 one.jpg"]
    assert source.labels.tolist() == [1, 0]
    assert source[1] == b"train/a/1 one.jpg"


@pytest.mark.parametrize("line", ["a/1.jpg", "a/1.jpg one", "a/1.jpg -1", "7"])
def test_a_list_line_that_does_not_parse_is_named(tmp_path, line):
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "train_list.txt").write_text(f"a/1.jpg 0\n{line}\n")
    with pytest.raises(ValueError, match=r"train_list.txt:2: .* is not 'relative/path label'; mend the line"):
        create_source("imagenet", tmp_path)


@pytest.mark.parametrize("there", [range(1), range(7, 20), range(0)])
def test_a_list_of_files_that_are_not_there_is_an_error(tmp_path, there):
    touch(tmp_path, *(f"train/a/{number}.jpg" for number in there))
    (tmp_path / "train_list.txt").write_text("".join(f"a/{number}.jpg 0\n" for number in range(20)))
    gone = [f"a/{number}.jpg" for number in range(20) if number not in there]
    more = f" and {len(gone) - 10} more" if len(gone) > 10 else ""
    root = tmp_path / "train" if there else tmp_path
    message = f"{len(gone)} of the images that {tmp_path}/train_list.txt names are not in {root}: "
    with pytest.raises(FileNotFoundError) as error:
        create_source("imagenet", tmp_path)
    assert str(error.value) == f"data_dir: {message}{', '.join(gone[:10])}{more}; put them there, or mend the list"


@pytest.mark.parametrize("dataset", ["folder", "imagenet", "cifar10", "stl10"])
def test_a_missing_data_dir_is_named(tmp_path, dataset):
    with pytest.raises(FileNotFoundError, match="^data_dir: .*nowhere is not a folder; name the one"):
        create_source(dataset, tmp_path / "nowhere")


def test_an_empty_folder_is_an_error(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(ValueError, match="^data_dir: .* holds no image file at any depth"):
        create_source("folder", tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="^data_dir: .* holds no folders with images"):
        create_source("imagenet", tmp_path)


def test_a_missing_split_names_those_that_are_there(tmp_path):
    touch(tmp_path, "train/a/1.jpg", "holdout_list.txt")
    with pytest.raises(
        FileNotFoundError, match="^data_dir: neither .*val nor .*val_list.txt is there; .* holds train, holdout_list"
    ):
        create_source("imagenet", tmp_path, "val")
    with pytest.raises(ValueError, match="^dataset: digits has no split 'test'; choose one of train, val"):
        create_source("digits", split="test")
    with pytest.raises(
        ValueError, match="^dataset: stl10 has no split 'all'; choose one of train, test, unlabeled, train.unlabeled"
    ):
        create_source("stl10", tmp_path, "all")


def test_digits_are_split_by_a_fixed_rule():
    digits = load_digits()
    train, val = create_source("digits"), create_source("digits", split="val")
    assert len(train) == 1442 and len(val) == 355 and train.description == "1442 images, 10 classes, digits train"
    fives = np.flatnonzero(digits.target == 5)
    in_val = [val[index] for index in np.flatnonzero(val.labels == 5)]
    np.testing.assert_array_equal([image[..., 1] for image in in_val], np.round(digits.images[fives[4::5]] * 255 / 16))
    assert train[0].shape == (8, 8, 3) and train[0].dtype == np.uint8


CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()


def write_cifar10(folder, records=20):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        data = rng.integers(0, 256, (records, 3073), dtype=np.uint8)
        data[:, 0] = np.arange(records) % 10
        data.tofile(folder / name)
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10) + "\n\n")


def test_cifar10(tmp_path):
    write_cifar10(tmp_path / "cifar-10-batches-bin")
    source = create_source("cifar10", tmp_path)
    record = np.fromfile(tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin", np.uint8).reshape(-1, 3073)[2]
    assert len(source) == 100 and source.labels[42] == record[0] == 2
    # A record is the red plane, the green one and the blue one, each row by row.
    assert source[42][3, 5].tolist() == [record[1 + plane * 1024 + 3 * 32 + 5] for plane in range(3)]
    assert len(create_source("cifar10", tmp_path / "cifar-10-batches-bin", "val")) == 20
    assert source.class_names == CIFAR10


def test_cifar100_takes_the_fine_labels(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (7, 3074), dtype=np.uint8)
    data[:, 0], data[:, 1] = 3, np.arange(7) + 50
    data.tofile(tmp_path / "test.bin")
    source = create_source("cifar100", tmp_path, "test")
    assert source.labels.tolist() == list(range(50, 57))
    np.testing.assert_array_equal(source[4][..., 2].ravel(), data[4, 2 + 2048 :])


def test_stl10(tmp_path, photos):
    image = photos[0][:96, :96]
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    # Published layout: planes red, green, blue, each column by column; labels from 1.
    stored = np.stack([image.transpose(2, 1, 0)] * 3)
    stored[1:] //= 2
    stored.tofile(folder / "train_X.bin")
    stored[:2].tofile(folder / "unlabeled_X.bin")
    np.array([1, 10, 3], np.uint8).tofile(folder / "train_y.bin")
    source = create_source("stl10", tmp_path)
    np.testing.assert_array_equal(source[0], image)
    assert source.labels.tolist() == [0, 9, 2] and source.name(2) == "stl10/train/2"
    both = create_source("stl10", tmp_path, "train+unlabeled")
    assert len(both) == 5 and both.labels is None
    np.testing.assert_array_equal(both[3], image)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(both))[4], both[1])
    assert len(pickle.dumps(both)) < 2000


def test_a_damaged_binary_file_is_named(tmp_path):
    write_cifar10(tmp_path / "cifar-10-batches-bin")
    with open(tmp_path / "cifar-10-batches-bin" / "data_batch_4.bin", "ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="^data_dir: .*data_batch_4.bin has 61461 bytes, not a multiple of 3073"):
        create_source("cifar10", tmp_path)


def test_missing_binary_files_say_what_to_put_where(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="^data_dir: .*https://www.cs.toronto.edu.*cifar-100-binary.tar.gz.*dataset_download"
    ):
        create_source("cifar100", tmp_path)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """An archive "published" as a file, with its checksum."""
    write_cifar10(tmp_path / "cifar-10-batches-bin", records=3)
    archive = tmp_path / "home" / "cifar-10-binary.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(binary_files.ARCHIVES, "cifar10", (archive.as_uri(), md5))
    return archive


def test_the_download_is_checked_and_unpacked(tmp_path, published):
    assert len(create_source("cifar10", tmp_path / "data", download=True)) == 15
    published.unlink()  # The second time needs no network.
    assert len(create_source("cifar10", tmp_path / "data", download=True)) == 15


def test_a_wrong_archive_is_refused(tmp_path, published):
    published.write_bytes(b"an error page")
    with pytest.raises(ValueError, match="^data_dir: .*cifar-10-binary.tar.gz is not the published archive"):
        create_source("cifar10", tmp_path / "data", download=True)


def test_offline_the_message_names_address_and_folder(tmp_path, published):
    published.unlink()
    with pytest.raises(
        OSError, match=f"^dataset_download: {published.as_uri()} cannot be downloaded.*put the file into .*data"
    ):
        create_source("cifar10", tmp_path / "data", download=True)
    assert list((tmp_path / "data").iterdir()) == []


def test_num_samples_are_spread_evenly():
    source = create_source("digits", num_samples=10)
    whole = create_source("digits")
    assert len(source) == 10 and source.description == "10 of 1442 images, 10 classes, digits train"
    np.testing.assert_array_equal(source[3], whole[3 * 1442 // 10])
    assert source.labels[3] == whole.labels[3 * 1442 // 10] and source.name(3) == whole.name(3 * 1442 // 10)
    with pytest.raises(ValueError, match=r"^num_samples: 2000 is not within 1..1442"):
        create_source("digits", num_samples=2000)


def test_the_recipe_opens_a_source(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    args = parse_args(["--dataset", "folder", "--data_dir", str(tmp_path)])
    assert len(source_from_args(args, args.train_split)) == 2
