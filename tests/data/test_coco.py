"""COCO's boxes and masks in its published layout, or refused in one line."""

import json
import pickle
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="requirements-dense.txt is not installed")

from mindbyol.data.sources import create_source, evenly_spaced  # noqa: E402

HEIGHT, WIDTH = 133, 200
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]  # COCO's numbers have gaps
SQUARE = [[10, 20, 30, 20, 30, 50, 10, 50]]


def note(number, image, category=18, box=(10, 20, 20, 30), **more):
    """An annotation, with a polygon unless other masks are asked for."""
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "iscrowd": 0,
        "segmentation": SQUARE,
        **more,
    }


@pytest.fixture
def write(tmp_path, photos):
    """Writes the file of a split of two images, 9 and 4, with some annotations, and returns the folder."""

    def write(annotations, split="val2017", categories=CATEGORIES, **images):
        (tmp_path / split).mkdir(exist_ok=True)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        for name, photo in zip(("000009.jpg", "000004.jpg"), photos):
            assert cv2.imwrite(str(tmp_path / split / name), photo)
        entries = [
            {"id": number, "file_name": f"{number:06d}.jpg", "height": HEIGHT, "width": WIDTH, **images}
            for number in (9, 4)
        ]
        content = {"images": entries, "annotations": annotations, "categories": categories, "info": {}}
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        return tmp_path

    return write


def test_images_and_classes_are_in_the_order_of_their_numbers(write):
    source = create_source("coco", write([note(1, 9, 3), note(2, 9, 18, iscrowd=1), note(3, 4, 18)]), "val2017")
    assert source.class_names == ["car", "dog"] and source.labels is None
    assert [source.name(place) for place in (0, 1)] == ["val2017/000004.jpg", "val2017/000009.jpg"]
    assert source.description == "2 images, 3 objects of 2 classes, COCO val2017"
    boxes, classes, neutral, masks = source.target(1)
    np.testing.assert_array_equal(boxes, np.float32([[10, 20, 30, 50]] * 2))
    assert classes.tolist() == [0, 1] and neutral.tolist() == [False, True] and classes.dtype == np.int32
    assert masks.shape == (2, HEIGHT, WIDTH) and masks.dtype == np.uint8
    np.testing.assert_array_equal(source.sizes, [[HEIGHT, WIDTH]] * 2)
    assert source.coco.image_ids.tolist() == [4, 9] and source.coco.category_ids == [3, 18]
    assert evenly_spaced(source, 1).coco.image_ids.tolist() == [4]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).target(1).masks, masks)


def test_masks_are_polygons_or_run_lengths_of_either_kind(write):
    from pycocotools import mask as coder

    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[20:50, 10:30] = 1
    two = expected.copy()
    two[60:70, 80:90] = 1
    changes = np.flatnonzero(np.diff(expected.ravel(order="F"), prepend=0, append=0))
    counts = np.diff([0, *changes, expected.size]).tolist()
    coded = coder.encode(np.asfortranarray(expected))
    forms = [
        SQUARE,
        [*SQUARE, [80, 60, 90, 60, 90, 70, 80, 70]],
        {"counts": counts, "size": [HEIGHT, WIDTH]},
        {"counts": coded["counts"].decode(), "size": [HEIGHT, WIDTH]},
        [*SQUARE, [1, 1, 2, 2]],  # a line has no area
    ]
    folder = write([note(number, 4, segmentation=form) for number, form in enumerate(forms)])
    masks = create_source("coco", folder, "val2017").target(0).masks
    for mask, of_form in zip(masks, [expected, two, expected, expected, expected]):
        np.testing.assert_array_equal(mask, of_form)


def test_an_image_without_objects_has_none(write):
    source = create_source("coco", write([note(1, 9)]), "val2017")
    boxes, classes, neutral, masks = source.target(0)
    assert boxes.shape == (0, 4) and classes.shape == neutral.shape == (0,) and masks.shape == (0, HEIGHT, WIDTH)
    assert source.object_counts.tolist() == [0, 1]


def test_there_need_not_be_masks(write):
    annotations = [note(1, 9), note(2, 9)]
    for one in annotations:
        del one["segmentation"]
    assert create_source("coco", write(annotations), "val2017").target(1).masks is None


def test_boxes_are_clipped_and_those_under_a_pixel_left_out(write, caplog):
    boxes = [(-5, 100, 20, 90), (10, 10, 0.5, 30), (10, 10, 30, -3), (500, 5, 20, 20), (5, 5, 1, 1)]
    source = create_source("coco", write([note(n, 9, box=box) for n, box in enumerate(boxes)]), "val2017")
    found = source.target(1)
    np.testing.assert_array_equal(found.boxes, np.float32([[0, 100, 15, 133], [5, 5, 6, 6]]))
    assert len(found.masks) == len(found.classes) == len(found.neutral) == 2
    assert "instances_val2017.json: 3 boxes are narrower than a pixel or lie outside of their image" in caplog.text


@pytest.mark.parametrize(
    "wrong, reason",
    [
        (note(7, 5), "annotation 7 has the image 5, which is not among the images"),
        (note(7, 9, 4), "annotation 7 has the category 4, which is not among the categories"),
        (note(7, 9, box=(1, 2, float("nan"), 4)), "annotation 7 has the bbox '.1, 2, nan, 4.', which is no x, y"),
        (note(7, 9, box=(1, 2, 3)), "annotation 7 has the bbox"),
        (note(7, 9, box=(1, 2, 3, "4")), "annotation 7 has the bbox"),
        (note("seven", 9), "an annotation has 'seven' in the place of a whole number as its id"),
        (note(7, 9, segmentation=[]), r"annotation 7 has no segmentation of 200 x 133 pixels \(IndexError"),
        (note(7, 9, segmentation={"counts": [5, 5], "size": [HEIGHT, WIDTH]}), "annotation 7 has no segmentation"),
        (note(7, 9, segmentation={"counts": [6], "size": [2, 3]}), "annotation 7 has no segmentation of 200 x 133"),
        (note(7, 9, segmentation="a square"), "annotation 7 has no segmentation"),
    ],
)
def test_a_damaged_annotation_is_named(write, wrong, reason):
    with pytest.raises(ValueError, match=f"^data_dir: .*instances_val2017.json: {reason}") as error:
        create_source("coco", write([note(1, 9), wrong]), "val2017")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "more, reason",
    [
        ({"width": 0}, "image 9 has 0 x 133 pixels"),
        ({"height": "133"}, "image 9 has '133' in the place of a whole number as its height"),
        ({"file_name": "../../etc/passwd"}, "image 9 has the file_name '../../etc/passwd', which is no path below"),
        ({"id": 4}, "image 4 has two entries"),
    ],
)
def test_a_damaged_image_is_named(write, more, reason):
    with pytest.raises(ValueError, match=f"^data_dir: .*instances_val2017.json: {reason}"):
        create_source("coco", write([], **more), "val2017")


@pytest.mark.parametrize(
    "text", ["[1, 2", "[]", '{"images": [], "annotations": [], "categories": []}', '{"images": [1]}']
)
def test_a_file_that_is_none_is_refused(write, text):
    folder = write([])
    (folder / "annotations/instances_val2017.json").write_text(text)
    with pytest.raises(ValueError, match="^data_dir: .*instances_val2017.json (is no JSON file|has no lists|names no)"):
        create_source("coco", folder, "val2017")


def test_missing_images_and_splits_are_named(write):
    folder = write([])
    with pytest.raises(FileNotFoundError, match="there; the splits that are: instances_val2017.json$"):
        create_source("coco", folder, "train2017")
    (folder / "val2017/000004.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="^data_dir: 1 of the images that .* val2017/000004.jpg"):
        create_source("coco", folder, "val2017")


def test_without_pycocotools_one_line_says_what_to_install(write, monkeypatch):
    folder = write([note(1, 9)])
    for name in ("pycocotools", "pycocotools.mask"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match="^dataset: .*pip install -r requirements-dense.txt$") as error:
        create_source("coco", folder, "val2017")
    assert "\n" not in str(error.value)
