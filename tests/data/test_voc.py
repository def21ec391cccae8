"""VOC 2007 in its published layout, read whole or refused in one line."""

import numpy as np
import pytest

from mindbyol.data.sources import create_source, evenly_spaced, fingerprint
from mindbyol.data.voc import CLASSES
from mindbyol.data.voc_annotations import objects_of
from tests.voc_layout import annotation, write_images

CAT, DOG, PERSON = (CLASSES.index(name) for name in ("cat", "dog", "person"))


@pytest.fixture
def root(tmp_path, photos):
    root = tmp_path / "VOCdevkit/VOC2007"
    images = [
        ("000005", photos[0], annotation([("dog", False), ("cat", True), ("cat", True)])),
        ("000007", photos[1], annotation([("cat", True), ("cat", False), ("person", None)])),
        ("000009", photos[0][:90], annotation([("person", False), ("person", True)])),
    ]
    write_images(root, "trainval", images)
    return root


def test_labels_are_present_absent_or_difficult_only(root):
    source = create_source("voc", root.parent.parent, "trainval")
    assert source.class_names == list(CLASSES) and len(CLASSES) == 20
    expected = np.zeros((3, 20), np.int8)
    expected[0, [DOG, CAT]] = 1, -1
    expected[1, [CAT, PERSON]] = 1, 1
    expected[2, PERSON] = 1
    np.testing.assert_array_equal(source.labels, expected)
    assert source.labels.dtype == np.int8
    assert source.name(1) == "JPEGImages/000007.jpg" and source[1][:2] == b"\xff\xd8"
    assert source.description == "3 images, 20 classes, VOC 2007 trainval"
    np.testing.assert_array_equal(evenly_spaced(source, 2).labels, expected[[0, 1]])
    assert set(fingerprint(source)) == {"names", "contents", "labels"}


def test_the_folder_is_found_where_the_archives_leave_it(root):
    for folder in (root.parent.parent, root.parent, root):
        assert len(create_source("voc", folder, "trainval")) == 3
    with pytest.raises(FileNotFoundError, match="^data_dir: neither .* has a folder ImageSets/Main; name the folder"):
        create_source("voc", root / "JPEGImages", "trainval")


def test_a_missing_split_names_those_that_are_there(root):
    with pytest.raises(FileNotFoundError, match="^data_dir: .*test.txt is not there; the splits that are: trainval$"):
        create_source("voc", root, "test")


@pytest.mark.parametrize("folder, kind, what", [("JPEGImages", "jpg", "images"), ("Annotations", "xml", "annotations")])
def test_files_that_are_missing_are_counted_and_ten_are_named(root, folder, kind, what):
    ids = [f"{number:06d}" for number in range(100, 112)]
    pixels, xml = np.zeros((8, 8, 3), np.uint8), annotation([("cow", False)])
    write_images(root, "train", [(name, pixels, xml) for name in ids])
    for name in ids:
        (root / folder / f"{name}.{kind}").unlink()
    with pytest.raises(FileNotFoundError) as error:
        create_source("voc", root, "train")
    assert str(error.value).startswith(f"data_dir: 12 of the {what} ")
    assert f"{folder}/000109.{kind} and 2 more; " in str(error.value) and "000110" not in str(error.value)


@pytest.mark.parametrize("name", ["../000005", "a b", "/etc/passwd", ""])
def test_a_name_that_is_none_is_refused(root, name):
    (root / "ImageSets/Main/test.txt").write_text(f"{name}\n000005\n")
    with pytest.raises(ValueError, match=f"^data_dir: .*test.txt: '{name}' is no name of an image; mend the list"):
        create_source("voc", root, "test")


def test_an_unknown_class_is_named(root):
    (root / "Annotations/000007.xml").write_text(annotation([("unicorn", False)]))
    with pytest.raises(ValueError, match="^data_dir: .*000007.xml: 'unicorn' is none of VOC's 20 classes"):
        create_source("voc", root, "trainval")


BOMB = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>' + annotation([("&c;", False)])


@pytest.mark.parametrize(
    "text, reason",
    [
        (BOMB, "declares a document type"),
        (annotation([("dog", False)])[:-5], "no element found|unclosed token"),
        ("<html></html>", "its outermost element is 'html'"),
        ("<annotation><object></object></annotation>", "an object with the name ''"),
        (annotation([("dog", 7)]), "an object with the name 'dog', difficult '7'"),
        (" " * 2**20 + annotation([]), "more than 1,048,576 bytes"),
    ],
)
def test_an_annotation_that_is_none_is_refused_in_one_line(tmp_path, text, reason):
    path = tmp_path / "1.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^data_dir: .*1.xml .*({reason})") as error:
        objects_of(path)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="no regular file"):
        objects_of(tmp_path)
