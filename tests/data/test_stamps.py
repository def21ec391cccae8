"""Composed scenes: what is said of them is what is in them, and the three layouts say the same."""

import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from mindbyol.commands.make_stamps import main
from mindbyol.data.class_files import class_names
from mindbyol.data.decode import decode
from mindbyol.data.stamps import CLASSES, STAMPS, compose, find_cutouts
from mindbyol.data.stamps_layouts import run_lengths
from tests.stamps import write_cutouts

SIZE, TRAIN, VAL = 128, 16, 4


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cutouts")
    write_cutouts(folder)
    return folder


@pytest.fixture(scope="module")
def made(cutouts, tmp_path_factory):
    return make(tmp_path_factory.mktemp("made") / "stamps", cutouts)


def make(folder, cutouts, seed=3):
    flags = f"--train {TRAIN} --val {VAL} --size {SIZE} --seed {seed} --stamps_dir {cutouts}"
    main(["--output_dir", str(folder), *flags.split()])
    return folder


def test_every_fourth_cutout_is_kept_for_validation_and_drawings_are_left_out(cutouts):
    found = find_cutouts(cutouts)
    assert [[file.name for file in files] for files in found["train"]] == [["0.png", "1.png", "2.png"]] * len(CLASSES)
    assert [[file.name for file in files] for files in found["val"]] == [["3.png"]] * len(CLASSES)


@pytest.mark.parametrize("number", range(8))
def test_objects_are_where_their_masks_and_boxes_say(cutouts, number):
    scene = compose(find_cutouts(cutouts)["train"], SIZE, 0, number)
    assert scene.image.shape == ((128, 96, 3) if number in (3, 7) else (96, 128, 3))
    assert np.sum([one.mask for one in scene.objects], axis=0).max() == 1
    assert [one.crowd for one in scene.objects] == [number == 7] + [False] * (len(scene.objects) - 1)
    for one in scene.objects:
        assert one.box == extent(one.mask)
        colour = np.array([250 - 30 * one.label, 40 + 30 * one.label])
        shown = scene.image[one.mask & ~scene.mixed][:, 1:].astype(int) - colour
        assert np.abs(shown).max() <= 27  # a tenth of the background is seen through the border


def extent(mask):
    rows, columns = np.nonzero(mask)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_what_is_covered_or_outside_is_marked(cutouts):
    scenes = [compose(find_cutouts(cutouts)["train"], SIZE, 1, number) for number in range(40)]
    objects = [one for scene in scenes for one in scene.objects]
    for mark in ("occluded", "truncated", "difficult", "crowd"):
        assert 0 < sum(getattr(one, mark) for one in objects) < len(objects) / 2
    assert all(one.occluded or one.truncated for one in objects if one.difficult)
    assert all(any(not (one.difficult or one.crowd) for one in scene.objects) for scene in scenes)


def test_the_layouts_say_the_same(made):
    voc, coco, cityscapes = made / "VOCdevkit/VOC2012", made / "coco", made / "cityscapes"
    names = list(CLASSES)
    assert class_names(voc, ()) == names and class_names(cityscapes, ()) == ["background", *names]
    for place, (split, count) in enumerate((("train", TRAIN), ("val", VAL))):
        content = json.loads((coco / f"annotations/instances_{split}2017.json").read_text())
        listed = [f"{place:06d}_{number:06d}" for number in range(count)]
        for kind in ("Main", "Segmentation"):
            assert (voc / f"ImageSets/{kind}/{split}.txt").read_text().split() == listed
        assert [category["name"] for category in content["categories"]] == names
        for name, image in zip(listed, content["images"]):
            shape = image["height"], image["width"]
            jpeg = (coco / f"{split}2017" / image["file_name"]).read_bytes()
            assert jpeg == (voc / f"JPEGImages/{name}.jpg").read_bytes() and decode(jpeg).shape[:2] == shape
            of_classes, of_objects = (
                np.array(Image.open(voc / f"Segmentation{kind}/{name}.png")) for kind in ("Class", "Object")
            )
            city = cityscapes / "gtFine" / split / "stamps" / f"stamps_{name}_gtFine_labelIds.png"
            np.testing.assert_array_equal(cv2.imread(str(city), cv2.IMREAD_UNCHANGED), of_classes)
            picture = cityscapes / "leftImg8bit" / split / "stamps" / f"stamps_{name}_leftImg8bit.png"
            assert np.abs(decode(picture.read_bytes()).astype(int) - decode(jpeg)).mean() < 12
            found = ElementTree.parse(voc / f"Annotations/{name}.xml").findall("object")
            annotations = [one for one in content["annotations"] if one["image_id"] == image["id"]]
            seen = np.zeros(shape, bool)
            for number, (note, of_voc) in enumerate(zip(annotations, found), 1):
                mask = from_run_lengths(note["segmentation"])
                x, y, width, height = note["bbox"]
                assert (x, y, x + width, y + height) == extent(mask) and note["area"] == mask.sum()
                corners = [int(of_voc.find("bndbox").find(key).text) for key in ("xmin", "ymin", "xmax", "ymax")]
                assert corners == [x + 1, y + 1, x + width, y + height]
                assert of_voc.find("name").text == names[note["category_id"] - 1]
                assert of_voc.find("difficult").text == "1" or not note["iscrowd"]
                sure = mask & (of_objects != 255)
                np.testing.assert_array_equal(of_objects == number, sure)
                assert (of_classes[sure] == note["category_id"]).all()
                seen |= mask
            assert not of_classes[~seen & (of_classes != 255)].any()


def from_run_lengths(segmentation):
    values = np.arange(len(segmentation["counts"])) % 2 == 1
    return np.repeat(values, segmentation["counts"]).reshape(segmentation["size"][::-1]).T


def test_run_lengths_go_down_the_columns_and_begin_with_zeros():
    assert run_lengths(np.array([[0, 1], [1, 1]], bool)) == [1, 3]
    assert run_lengths(np.array([[1, 0], [1, 0]], bool)) == [0, 2, 2]
    assert run_lengths(np.zeros((2, 3), bool)) == [6]


def test_the_seed_makes_the_data_set(made, cutouts, tmp_path):
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    again, other = make(tmp_path / "again", cutouts), make(tmp_path / "other", cutouts, seed=4)
    assert all((made / file).read_bytes() == (again / file).read_bytes() for file in files)
    picture = Path("VOCdevkit/VOC2012/JPEGImages/000000_000000.jpg")
    assert (made / picture).read_bytes() != (other / picture).read_bytes()


@pytest.mark.parametrize(
    "flags, reason",
    [
        ("--output_dir {made}", "--output_dir: .*/stamps is there already; name a folder to make"),
        ("--output_dir {made}/no/stamps", "--output_dir: .*/no is no folder; make it first"),
        ("--output_dir {made}/new --stamps_dir {made}", "holds 0 cut-outs of the class bird.*`apt install tuxpaint-st"),
        ("--output_dir {made}/new --size 8", "--size"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(made, flags, reason):
    with pytest.raises(SystemExit, match=f"^error: .*{reason}") as error:
        main(flags.format(made=made).split())
    assert "\n" not in str(error.value) and sorted(path.name for path in made.parent.iterdir()) == ["stamps"]


@pytest.mark.parametrize("pixels", [None, np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 4))])
def test_a_cutout_that_is_none_is_named_and_nothing_is_left_behind(tmp_path, pixels):
    folder = tmp_path / "cartoon"  # of the cut-outs, only folders below count
    write_cutouts(folder)
    file = folder / CLASSES["bird"] / "1.png"
    file.write_bytes(b"")
    if pixels is not None:
        assert cv2.imwrite(str(file), pixels)
    with pytest.raises(SystemExit, match="^error: .*birds/1.png is no picture with an alpha channel"):
        make(tmp_path / "made", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["cartoon"]


@pytest.mark.parametrize("text", ["bird\n\ncat\n", "bird\nbird\n", ""])
def test_a_damaged_list_of_classes_is_refused(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match="^data_dir: .*classes.txt has an empty line, or a class twice"):
        class_names(tmp_path, ("dog",))


def test_without_a_list_the_classes_are_the_published_ones(tmp_path):
    assert class_names(tmp_path, ("dog", "cat")) == ["dog", "cat"]


@pytest.mark.skipif(not STAMPS.is_dir(), reason="needs Debian's tuxpaint-stamps-default")
def test_the_cutouts_of_the_package_can_be_composed():
    found = find_cutouts()
    assert all(len(train) >= 3 * len(val) > 0 for train, val in zip(found["train"], found["val"]))
    assert len(compose(found["train"], 320, 0, 7).objects) > 1
