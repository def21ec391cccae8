"""The data sets of the paper's transfer experiments: tiny ones in their published layouts, of real JPEG files."""

import os
from collections import Counter

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from mindbyol.data.decode import decode
from mindbyol.data.sources import create_source


class Writer:
    """Writes images of a colour each, and lists, below a folder."""

    def __init__(self, folder, jpeg):
        self.folder = folder
        self.jpeg = jpeg

    def images(self, names):
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.jpeg, path)

    def lines(self, name, lines):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text("\n".join(lines) + "\n")

    def mat(self, name, **variables):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        savemat(self.folder / name, variables)


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory):
    """A file with an image, which is then linked under many names."""
    path = tmp_path_factory.mktemp("jpeg") / "one.jpg"
    assert cv2.imwrite(str(path), np.full((9, 12, 3), (10, 120, 240), np.uint8))
    return path


@pytest.fixture
def write(tmp_path, jpeg):
    return Writer(tmp_path, jpeg)


def classes(count, form="class {}"):
    return [form.format(f"{number:03d}") for number in range(count)]


def food101(write):
    names = classes(101, "dish_{}")
    write.lines("food-101/meta/classes.txt", names)
    for split, image in (("train", 7), ("test", 8)):
        write.lines(f"food-101/meta/{split}.txt", [f"{name}/{image}" for name in names])
        write.images(f"food-101/images/{name}/{image}.jpg" for name in names)
    return names


def sun397(write):
    names = classes(397, "a/place/{}")
    write.lines("SUN397/Partitions/ClassName.txt", [f"/{name}" for name in names])
    for file, image in (("Training_01", 1), ("Testing_01", 2), ("Training_02", 2)):
        write.lines(f"SUN397/Partitions/{file}.txt", [f"/{name}/sun_{image}.jpg" for name in names])
    write.images(f"SUN397/{name}/sun_{image}.jpg" for name in names for image in (1, 2))
    return names


def cars(write):
    names = classes(196, "Car {} 2012")
    kinds = np.empty(196, object)
    kinds[:] = names
    write.mat("stanford_cars/devkit/cars_meta.mat", class_names=kinds)
    for split, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        files = [f"{number:05d}.jpg" for number in range(1, 197)]
        notes = np.zeros(196, [("bbox_x1", object), ("class", object), ("fname", object)])
        notes["fname"] = files
        notes["class"] = np.arange(196, 0, -1)  # from 1, the last one first
        write.mat(f"stanford_cars/{file}", annotations=notes)
        write.images(f"stanford_cars/cars_{split}/{name}" for name in files)
    return names[::-1]


def aircraft(write):
    names = classes(100, "DC {}")  # with a space
    write.lines("fgvc-aircraft-2013b/data/variants.txt", names)
    for first, split in ((0, "train"), (100, "val"), (200, "test")):
        lines = [f"{first + number:07d} {name}" for number, name in enumerate(names)]
        write.lines(f"fgvc-aircraft-2013b/data/images_variant_{split}.txt", lines)
    write.images(f"fgvc-aircraft-2013b/data/images/{number:07d}.jpg" for number in range(300))
    return names


def dtd(write):
    names = classes(47, "texture_{}")
    for image, split in enumerate(("train1", "val1", "test1", "train2")):
        write.lines(f"dtd/labels/{split}.txt", [f"{name}/{name}_{image % 3}.jpg" for name in names])
    write.images(f"dtd/images/{name}/{name}_{image}.jpg" for name in names for image in range(3))
    return names


def pets(write):
    names = classes(37, "great_pet_{}")
    for image, split in ((1, "trainval"), (2, "test")):
        lines = [f"{name}_{image} {number} 1 1" for number, name in enumerate(names, 1)]
        write.lines(f"oxford-iiit-pet/annotations/{split}.txt", lines)
        write.images(f"oxford-iiit-pet/images/{name}_{image}.jpg" for name in names)
    return names


def flowers102(write):
    labels = np.arange(306) % 102 + 1
    write.mat("flowers-102/imagelabels.mat", labels=labels[None].astype(np.uint8))
    parts = {
        name: np.arange(first, first + 102)[None] for name, first in (("trnid", 205), ("valid", 103), ("tstid", 1))
    }
    write.mat("flowers-102/setid.mat", **parts)
    write.images(f"flowers-102/jpg/image_{number:05d}.jpg" for number in range(1, 307))
    return [str(number) for number in range(1, 103)]


# What writes it, its splits here, and a name of an image of the last split.
SETS = {
    "food101": (food101, ("train", "test"), "images/dish_003/8.jpg"),
    "sun397": (sun397, ("train1", "test1", "train2"), "a/place/003/sun_2.jpg"),
    "cars": (cars, ("train", "test"), "cars_test/00004.jpg"),
    "aircraft": (aircraft, ("train", "val", "test"), "data/images/0000203.jpg"),
    "dtd": (dtd, ("train1", "test1", "train2", "val1"), "images/texture_003/texture_003_1.jpg"),
    "pets": (pets, ("trainval", "test"), "images/great_pet_003_2.jpg"),
    "flowers102": (flowers102, ("train", "test", "val"), "jpg/image_00106.jpg"),
}


@pytest.mark.parametrize("dataset", SETS)
def test_a_published_layout(dataset, write, tmp_path, caplog):
    make, splits, fourth = SETS[dataset]
    names = make(write)
    for split in splits:
        source = create_source(dataset, tmp_path, split)  # above what the archive unpacks to
        assert [source.class_names[label] for label in source.labels] == names
        assert source.labels.dtype == np.int32 and sorted(source.labels) == list(range(len(names)))
        assert source.description == f"{len(names)} images, {len(names)} classes, {dataset} {split}"
        assert f"{dataset} {split}: {len(names)} images, and the published one has " in caplog.text
    assert source.name(3) == fourth and decode(source[3]).shape == (9, 12, 3)
    whole = [folder for folder in tmp_path.iterdir() if folder.is_dir()]
    assert len(create_source(dataset, whole[0], splits[0])) == len(names)
    with pytest.raises(ValueError, match=f"dataset: {dataset} has no split 'all'; choose one of {splits[0]}"):
        create_source(dataset, tmp_path, "all")


def caltech101(write, images=33):
    names = ["BACKGROUND_Google", "accordion", *classes(100, "thing_{}")]
    write.images(f"101_ObjectCategories/{name}/image_{k:04d}.jpg" for name in names for k in range(images))
    return names


def test_caltech101_is_drawn_30_images_a_class_for_training(write, tmp_path):
    names = caltech101(write)
    train, test, other = (create_source("caltech101", tmp_path, split) for split in ("train1", "test1", "train2"))
    assert train.class_names == names and len(train) == 3060 and len(test) == 102 * 3
    assert set(Counter(train.labels.tolist()).values()) == {30}
    drawn, left, again = (frozenset(map(source.name, range(len(source)))) for source in (train, test, other))
    assert not drawn & left and len(drawn | left) == 102 * 33 and drawn != again
    assert [train.name(k).split("/")[0] for k in range(0, 3060, 30)] == names
    # The draw is the same on every machine.
    assert [test.name(k)[-8:-4] for k in range(3)] == ["0006", "0015", "0017"]


def test_lists_that_are_wrong(write, tmp_path):
    food101(write)
    folder = tmp_path / "food-101"
    for number in range(12):
        (folder / f"images/dish_{number:03d}/8.jpg").unlink()
    shown = ", ".join(f"images/dish_{number:03d}/8.jpg" for number in range(10))
    with pytest.raises(FileNotFoundError, match=f"^data_dir: 12 of the images that .*test.txt.*: {shown} and 2 more; "):
        create_source("food101", tmp_path, "test")
    train = (folder / "meta/train.txt").read_text()
    for line, message in (
        ("nothing/7", "train.txt:102: 'nothing' is none of the 101 classes; mend the list"),
        ("dish_000/../../../x", "train.txt:102: 'dish_000/../../..' is none of the 101 classes"),
        ("", "2 of the 101 classes: dish_000, dish_001; fetch"),
    ):
        kept = train + line if line else "\n".join(train.split("\n")[2:])
        (folder / "meta/train.txt").write_text(kept)
        with pytest.raises(ValueError, match=f"^data_dir: .*{message}"):
            create_source("food101", tmp_path)
    write.lines("food-101/meta/classes.txt", classes(100, "dish_{}"))
    write.lines("food-101/meta/train.txt", ["dish_001/7"])
    with pytest.raises(ValueError, match="^data_dir: .*food-101 has 100 classes, and food101 has 101; it is damaged"):
        create_source("food101", tmp_path)
    (folder / "meta/test.txt").unlink()
    with pytest.raises(FileNotFoundError, match="^data_dir: the list .*test.txt is not there"):
        create_source("food101", tmp_path, "test")
    with pytest.raises(FileNotFoundError, match="^data_dir: neither .* nor .*dtd holds 'labels' of dtd; unpack"):
        create_source("dtd", tmp_path, "train1")


def test_pets_with_a_label_that_is_no_class_or_a_line_that_is_none(write, tmp_path):
    pets(write)
    file = tmp_path / "oxford-iiit-pet/annotations/test.txt"
    lines = file.read_text()
    file.write_text(lines.replace(" 37 ", " 38 "))
    with pytest.raises(ValueError, match="^data_dir: .*test.txt: the label of images/great_pet_036_2.jpg, .* 37, and"):
        create_source("pets", tmp_path, "test")
    file.write_text(lines.replace(" 5 1 1", " five 1 1"))
    with pytest.raises(ValueError, match="^data_dir: .*test.txt:5: 'great_pet_004_2 five 1 1' is not 'name class"):
        create_source("pets", tmp_path, "test")


def test_mat_files_that_are_wrong(write, tmp_path):
    flowers102(write)
    write.mat("flowers-102/setid.mat", trnid=np.array([[1, 307]]))
    with pytest.raises(ValueError, match="^data_dir: .*setid.mat names images that are not among the 306"):
        create_source("flowers102", tmp_path)
    with pytest.raises(ValueError, match="^data_dir: .*setid.mat has no variable 'tstid'; fetch it again"):
        create_source("flowers102", tmp_path, "test")
    (tmp_path / "flowers-102/setid.mat").write_bytes(b"<html>an error page</html>" * 20)
    with pytest.raises(ValueError, match="^data_dir: .*setid.mat is no MATLAB file that can be read"):
        create_source("flowers102", tmp_path)
    (tmp_path / "flowers-102/imagelabels.mat").unlink()
    with pytest.raises(ValueError, match="setid.mat"):
        create_source("flowers102", tmp_path)
