"""Lists, folders and binary files that lead somewhere else, or hold what cannot be."""

import os

import cv2
import numpy as np
import pytest

from mindbyol.commands import make_mindrecord, preview
from mindbyol.data import image_files
from mindbyol.data.decode import BadImage
from mindbyol.data.loader import LoaderSettings, PretrainLoader
from mindbyol.data.sources import create_source
from mindbyol.data.views import TwoViewTransform


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MINDBYOL_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def listed(tmp_path, write_jpegs):
    """A function that writes `train_list.txt` with the given lines after those of 20 images."""
    write_jpegs(tmp_path, 20)

    def write(*lines):
        content = [b"%02d.jpg %d" % (number, number % 2) for number in range(20)] + list(lines)
        (tmp_path / "train_list.txt").write_bytes(b"\n".join(content))
        return tmp_path

    return write


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"../outside.jpg 1", "'../outside.jpg' leads up with '..'"),
        (b"a/../../outside.jpg 1", "leads up with '..'"),
        (b"/etc/passwd 1", "'/etc/passwd' is absolute; write it relative to"),
        (b"a\0.jpg 1", r"'a\\x00.jpg' holds a NUL byte, and no file has such a name"),
        (b"\x1b[31m\xff.jpg one", r"'\\x1b\[31m\\udcff.jpg one' is not 'relative/path label'"),
        (b"x" * 9000 + b" 1", "'x{200}'... is not 'relative/path label'"),
        (b"20.jpg 999999", "the label 999999 makes 1,000,000 classes of 21 images"),
        (b"20.jpg 22000", "the label 22000 makes 22,001 classes of 21 images"),
        (b"20.jpg 1234567890", "is not 'relative/path label'"),
    ],
)
def test_a_line_that_leads_elsewhere_is_named(listed, line, reason):
    with pytest.raises(ValueError, match=f"^data_dir: .*train_list.txt:22: .*{reason}"):
        create_source("imagenet", listed(b"", line))


def test_few_images_of_many_classes_and_dots_in_names_are_fine(listed, tmp_path):
    (tmp_path / "a..b.jpg").touch()
    source = create_source("imagenet", listed(b"./00.jpg 999", b"a..b.jpg 21840"))
    assert len(source.class_names) == 21_841 and source.name(21) == "a..b.jpg"


def test_as_many_classes_as_images_are_fine(tmp_path):
    (tmp_path / "0.jpg").touch()
    (tmp_path / "train_list.txt").write_text("\n".join(f"0.jpg {label}" for label in range(30_000)))
    assert len(create_source("imagenet", tmp_path).class_names) == 30_000


def test_a_list_takes_names_that_are_not_utf_8(listed):
    folder = listed(b"latin-\xe9.jpg 1")
    (folder / "00.jpg").rename(os.fsdecode(os.path.join(os.fsencode(folder), b"latin-\xe9.jpg")))
    (folder / "00.jpg").symlink_to("01.jpg")
    source = create_source("imagenet", folder)
    assert source[20][:2] == b"\xff\xd8" and source.name(20) == r"latin-\xe9.jpg"


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_what_is_no_regular_file_is_a_bad_image(listed, caplog, kind, monkeypatch):
    monkeypatch.setattr("mindbyol.data.loader.TIMEOUT", 10.0)
    folder = listed(b"link.jpg 1")
    os.mkfifo(folder / "pipe")
    (folder / "link.jpg").symlink_to("/dev/null" if kind == "device" else folder / "pipe")
    source = create_source("imagenet", folder)
    list(PretrainLoader(source, TwoViewTransform(32), LoaderSettings(21, num_parallel_workers=1), 1))
    assert "link.jpg cannot be read (not a regular file, but a device, a pipe or the like)" in caplog.text


def test_a_list_whose_first_image_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "train_list.txt").write_text("a.jpg 0\n")
    with pytest.raises(SystemExit, match="error: data_dir: a.jpg, the first image of .*train_list.txt, is no file in"):
        preview.main(["--dataset", "imagenet", "--data_dir", str(tmp_path)])


def test_pipes_and_devices_in_folders_are_passed_over(listed):
    folder = listed()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "link.jpg").symlink_to("/dev/zero")
    assert len(create_source("folder", folder)) == 20


def test_links_to_images_elsewhere_are_fine(tmp_path, jpegs):
    (tmp_path / "photos").symlink_to(jpegs)
    (tmp_path / "train_list.txt").write_text("photos/00.jpg 0\n")
    assert create_source("imagenet", tmp_path)[0] == (jpegs / "00.jpg").read_bytes()


def test_an_image_file_may_have_a_gibibyte(tmp_path):
    with open(tmp_path / "sparse.jpg", "wb") as file:
        file.truncate(image_files.MAX_FILE_BYTES + 1)
    with pytest.raises(BadImage, match="1,073,741,825 bytes, more than an image file may have"):
        create_source("folder", tmp_path)[0]


def test_mindrecord_names_the_file_that_is_none(listed, tmp_path):
    folder = listed(b"link.jpg 1")
    (folder / "link.jpg").symlink_to("/dev/null")
    arguments = ["--dataset", "imagenet", "--data_dir", str(folder), "--output_dir", str(tmp_path / "shards")]
    with pytest.raises(SystemExit, match="error: data_dir: link.jpg: not a regular file.*; remove it"):
        make_mindrecord.main(arguments)


def write_cifar(folder, dataset, labels):
    """Five training files and a test file of the same labels, without class names."""
    coarse = dataset == "cifar100"
    records = np.zeros((len(labels), 3073 + coarse), np.uint8)
    records[:, int(coarse)] = labels
    files = ["train.bin", "test.bin"] if coarse else [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    for file in files:
        records.tofile(folder / file)


def write_stl10(folder, labels):
    np.zeros((len(labels), 3 * 96 * 96), np.uint8).tofile(folder / "train_X.bin")
    np.array(labels, np.uint8).tofile(folder / "train_y.bin")


def test_without_a_file_of_class_names_classes_have_numbers(tmp_path):
    write_cifar(tmp_path, "cifar10", [1, 0])
    write_cifar(tmp_path, "cifar100", [99, 0])
    write_stl10(tmp_path, [1, 10])
    for dataset, classes in (("cifar10", 10), ("cifar100", 100), ("stl10", 10)):
        source = create_source(dataset, tmp_path)
        assert source.class_names == [str(label) for label in range(classes)]
        assert f" {classes} classes" in source.description


def test_another_number_of_class_names_is_refused(tmp_path):
    write_cifar(tmp_path, "cifar10", [1, 0])
    (tmp_path / "batches.meta.txt").write_bytes(b"air\xffplane\nautomobile\n")
    with pytest.raises(ValueError, match="batches.meta.txt names 2 classes, not 10; mend it, or remove it"):
        create_source("cifar10", tmp_path)


@pytest.mark.parametrize(
    "dataset, labels, reason",
    [
        ("cifar10", [0, 9, 10], "data_batch_1.bin: the label of image 2, counted from 0, is 10; .* are 0..9"),
        ("cifar100", [99, 100], "train.bin: the label of image 1, counted from 0, is 100; .* are 0..99"),
        ("stl10", [1, 0], "train_y.bin: the label of image 1, counted from 0, is 0; .* are 1..10"),
        ("stl10", [11, 1], "train_y.bin: the label of image 0, counted from 0, is 11; .* are 1..10"),
    ],
)
def test_labels_out_of_range_are_named(tmp_path, dataset, labels, reason):
    if dataset == "stl10":
        write_stl10(tmp_path, labels)
    else:
        write_cifar(tmp_path, dataset, labels)
    with pytest.raises(SystemExit, match=f"error: data_dir: .*{reason}"):
        preview.main(["--dataset", dataset, "--data_dir", str(tmp_path)])


def test_missing_labels_of_stl10_are_named(tmp_path):
    write_stl10(tmp_path, [1])
    (tmp_path / "train_y.bin").unlink()
    os.mkfifo(tmp_path / "train_y.bin")
    with pytest.raises(FileNotFoundError, match="train_y.bin, the labels of train_X.bin, is not there"):
        create_source("stl10", tmp_path)


def test_a_long_thin_image_is_an_image(tmp_path, caplog):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 100_000, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "wide.png"), pixels)
    cv2.imwrite(str(tmp_path / "high.png"), pixels.transpose(1, 0, 2))
    source = create_source("folder", tmp_path)
    (views, _), *_ = PretrainLoader(source, TwoViewTransform(32), LoaderSettings(2, num_parallel_workers=1), 3)
    assert views.shape == (2, 3, 32, 32) and not caplog.text
