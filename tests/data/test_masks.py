"""Readers of masks: the published layouts, what ids become, and what is wrong with files, in one line."""

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from mindbyol.data.decode import BadImage, DataError, decode
from mindbyol.data.masks import look_at_some
from mindbyol.data.sources import Subset, create_source, fingerprint
from mindbyol.data.voc import CLASSES
from tests.scenes import CLASS_NAMES, write_scenes

CITYSCAPES = (
    "road sidewalk building wall fence pole traffic-light traffic-sign vegetation terrain sky person rider car truck "
    "bus train motorcycle bicycle"
)
# ids of the published table in the order of the train ids
IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes") / "stamps")


def save_mask(path, values, palette=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette:  # in colours that are not the ids
        image.putpalette([(7 * number) % 256 for number in range(768)])
    image.save(path)


def save_image(path, height=4, width=6, exif=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path, **({"exif": exif} if exif else {}))


@pytest.fixture
def voc(tmp_path):
    """VOC 2012 with two images of train, one of val, and two of aug."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = {"train": ["2007_1", "2007_2"], "val": ["2008_1"], "aug": ["2009_1", "2009_2"]}
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for split, names in lists.items():
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names) + "\n")
        for place, name in enumerate(names):
            save_image(root / f"JPEGImages/{name}.jpg")
            mask = np.arange(24).reshape(4, 6) % 21
            mask[0, 0] = 255
            folder = "SegmentationClassAug" if split == "aug" else "SegmentationClass"
            save_mask(root / folder / f"{name}.png", np.roll(mask, place), palette=split != "aug")
    return root


def test_voc_is_read_as_published(voc, tmp_path):
    for folder in (voc, voc.parent, tmp_path):
        source = create_source("voc12_segmentation", folder, "train_aug")
        assert [source.name(index) for index in range(4)] == [
            f"JPEGImages/{name}.jpg" for name in ("2007_1", "2007_2", "2009_1", "2009_2")
        ]
    assert source.class_names == ["background", *CLASSES] and source.labels is None
    assert source.description == "4 images with masks, 21 classes, voc12_segmentation train_aug"
    expected = np.arange(24).reshape(4, 6) % 21
    expected[0, 0] = 255
    for index, shift in ((0, 0), (1, 1), (2, 0), (3, 1)):
        mask = source.target(index)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, np.roll(expected, shift))
    assert decode(source[0]).shape == (4, 6, 3)
    assert len(create_source("voc12_segmentation", tmp_path, "train")) == 2
    assert len(create_source("voc12_segmentation", tmp_path, "val")) == 1
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.target(3), source.target(3))
    np.testing.assert_array_equal(Subset(source, [3]).target(0), source.target(3))
    assert fingerprint(source)["names"] != fingerprint(create_source("voc12_segmentation", tmp_path, "train"))["names"]


@pytest.fixture
def cityscapes(tmp_path):
    for split, cities in (("train", ("aachen", "bochum")), ("val", ("lindau",))):
        for city in cities:
            name = f"{split}/{city}/{city}_000000_000019"
            save_image(tmp_path / f"leftImg8bit/{name}_leftImg8bit.png", 5, 8)
            ids = [*range(34), 255, 255, 255, 255, 255, 255]
            save_mask(tmp_path / f"gtFine/{name}_gtFine_labelIds.png", np.reshape(ids, (5, 8)), palette=False)
            save_mask(tmp_path / f"gtFine/{name}_gtFine_instanceIds.png", np.zeros((5, 8)), palette=False)
    return tmp_path


def test_cityscapes_is_read_as_published(cityscapes):
    source = create_source("cityscapes", cityscapes, "train")
    assert [name.replace(" ", "-") for name in source.class_names] == CITYSCAPES.split()
    assert [source.name(index) for index in range(2)] == [
        f"leftImg8bit/train/{city}/{city}_000000_000019_leftImg8bit.png" for city in ("aachen", "bochum")
    ]
    expected = [IDS.index(number) if number in IDS else 255 for number in range(34)] + [255] * 6
    np.testing.assert_array_equal(source.target(1).ravel(), expected)
    assert len(create_source("cityscapes", cityscapes, "val")) == 1


def test_classes_of_ones_own_have_a_file_beside_the_images(scenes):
    voc = create_source("voc12_segmentation", scenes, "train")
    city = create_source("cityscapes", scenes / "cityscapes", "train")
    assert voc.class_names == city.class_names == CLASS_NAMES and len(voc) == len(city) == 8
    for index in range(8):
        np.testing.assert_array_equal(voc.target(index), city.target(index))
    found = np.unique(np.concatenate([voc.target(index).ravel() for index in range(8)]))
    assert set(found) <= {*range(8), 255} and {0, 255} < set(found) and len(found) > 4


def test_some_masks_are_looked_at_before_a_run(voc):
    source = create_source("voc12_segmentation", voc, "train")
    np.testing.assert_array_equal(look_at_some(source), [[4, 6], [4, 6]])
    (voc / "SegmentationClass/2007_2.png").write_bytes(b"no image")  # the run says so when it comes to it
    np.testing.assert_array_equal(look_at_some(source), [[4, 6]])


def test_ids_beyond_the_classes_stop_the_run(voc, cityscapes):
    save_mask(voc / "SegmentationClass/2007_2.png", np.full((4, 6), 21))
    source = create_source("voc12_segmentation", voc, "train")
    message = r"^dataset: SegmentationClass/2007_2.png holds the id 21, which is none of the 21 classes, nor 255, which"
    for read in (lambda: source.target(1), lambda: look_at_some(source)):
        with pytest.raises(DataError, match=message) as caught:
            read()
        assert not isinstance(caught.value, BadImage)  # which would be left out
    mask = cityscapes / "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png"
    save_mask(mask, np.full((5, 8), 34), palette=False)
    with pytest.raises(DataError, match="_labelIds.png holds the id 34, which is none of the 19 classes"):
        create_source("cityscapes", cityscapes, "val").target(0)


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path: path.write_bytes(b""), "^its mask is no image that Pillow can decode"),
        (lambda path: save_image(path), "^its mask is no image of one channel of 8 bits, but of Pillow's mode RGB$"),
        (lambda path: save_mask(path, np.zeros((6, 4))), "^its mask .*2007_1.png is 4 x 6, and the image 6 x 4$"),
    ],
)
def test_a_mask_that_cannot_be_used_counts_as_an_unreadable_image(voc, write, message):
    write(voc / "SegmentationClass/2007_1.png")
    with pytest.raises(BadImage, match=message):
        create_source("voc12_segmentation", voc, "train").target(0)


def test_a_mask_follows_the_orientation_of_its_image(voc):
    exif = Image.Exif()
    exif[0x0112] = 6
    save_image(voc / "JPEGImages/2007_1.jpg", 6, 4, exif)  # decoded, it is 4 high and 6 wide
    source = create_source("voc12_segmentation", voc, "train")
    assert decode(source[0]).shape[:2] == source.target(0).shape == (4, 6)


def remove_lists(voc):
    shutil.rmtree(voc / "ImageSets")


def name_twice(voc):
    (voc / "ImageSets/Segmentation/aug.txt").write_text("2009_1\n2007_1\n")
    shutil.copy(voc / "SegmentationClass/2007_1.png", voc / "SegmentationClassAug/2007_1.png")


@pytest.mark.parametrize(
    "damage, split, message",
    [
        (
            lambda voc: (voc / "JPEGImages/2007_2.jpg").unlink(),
            "train",
            "data_dir: 1 of the images that .*train.txt names",
        ),
        (lambda voc: (voc / "SegmentationClassAug/2009_1.png").unlink(), "train_aug", "1 of the masks that .*aug.txt"),
        (lambda voc: (voc / "ImageSets/Segmentation/aug.txt").unlink(), "train_aug", "the list .*aug.txt is not there"),
        (name_twice, "train_aug", "JPEGImages/2007_1.jpg is named twice in train_aug; mend the lists"),
        (remove_lists, "train", "has a folder ImageSets/Segmentation; name the folder where the archive of VOC 2012"),
        (
            lambda voc: (voc / "ImageSets/Segmentation/train.txt").write_text("../x\n"),
            "train",
            "'../x' is no name of an image; mend the list",
        ),
        (lambda voc: None, "test", "split 'test' is none of voc12_segmentation: train, val, trainval, train_aug"),
    ],
)
def test_what_is_wrong_with_voc_is_said_in_a_line(voc, damage, split, message):
    damage(voc)
    with pytest.raises((FileNotFoundError, ValueError), match=message) as caught:
        create_source("voc12_segmentation", voc, split)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "removed, split, message",
    [
        (
            "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
            "train",
            "1 annotations of gtFine/train have",
        ),
        (
            "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png",
            "train",
            "1 images of leftImg8bit/train have no",
        ),
        ("gtFine/val", "val", "gtFine/val is not there; name the folder that holds leftImg8bit and gtFine"),
        (None, "test", "leftImg8bit/test is not there"),
    ],
)
def test_what_is_wrong_with_cityscapes_is_said_in_a_line(cityscapes, removed, split, message):
    path = cityscapes / (removed or "none")
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match=f"^data_dir: .*{message}") as caught:
        create_source("cityscapes", cityscapes, split)
    assert "\n" not in str(caught.value)
