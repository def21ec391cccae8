"""Boxes of VOC in its published layout, of one year and of two, or refused in one line."""

import pickle

import numpy as np
import pytest

from mindbyol.data.loader import EvalLoader, LoaderSettings
from mindbyol.data.masks import look_at_some
from mindbyol.data.objects import clipped
from mindbyol.data.sources import create_source, evenly_spaced
from mindbyol.data.voc import CLASSES
from tests.voc_layout import annotation, annotation_with_boxes, write_images

CAT, DOG = CLASSES.index("cat"), CLASSES.index("dog")


@pytest.fixture
def devkit(tmp_path, photos):
    devkit = tmp_path / "VOCdevkit"
    height, width = photos[0].shape[:2]  # 133 x 200
    write_images(
        devkit / "VOC2007",
        "trainval",
        [
            (
                "000005",
                photos[0],
                annotation_with_boxes(
                    height, width, [("dog", False, (11, 21, 60, 70)), ("cat", True, (1, 1, 200, 133))]
                ),
            ),
            ("000007", photos[1], annotation_with_boxes(height, width, [])),
        ],
    )
    fractions = ("45.70000076293945", "21", "60.9", "70")
    objects = [("cat", False, fractions), ("cat", False, ("5", "5", "9", "9"))]
    write_images(
        devkit / "VOC2012",
        "trainval",
        [("2008_000001", photos[0][:, :90], annotation_with_boxes(height, 90, objects))],
    )
    return devkit


def test_corners_count_from_nought_and_difficult_objects_are_neutral(devkit):
    source = create_source("voc_detection", devkit.parent, "2007_trainval")
    boxes, classes, neutral, masks = source.target(0)
    np.testing.assert_array_equal(boxes, np.float32([[10, 20, 59, 69], [0, 0, 199, 132]]))
    np.testing.assert_array_equal(classes, [DOG, CAT])
    np.testing.assert_array_equal(neutral, [False, True])
    assert (boxes.dtype, classes.dtype, neutral.dtype, masks) == (np.float32, np.int32, bool, None)
    assert source.class_names == list(CLASSES) and source.labels is None and source.coco is None
    assert source.description == "2 images, 2 objects of 20 classes, VOC 2007_trainval"
    boxes, classes, neutral, _ = source.target(1)
    assert boxes.shape == (0, 4) and classes.shape == neutral.shape == (0,)


def test_two_years_are_one_data_set(devkit):
    for folder in (devkit, devkit.parent):
        source = create_source("voc_detection", folder, "2007_trainval+2012_trainval")
        assert [source.name(place) for place in range(3)] == [
            "VOC2007/JPEGImages/000005.jpg",
            "VOC2007/JPEGImages/000007.jpg",
            "VOC2012/JPEGImages/2008_000001.jpg",
        ]
        np.testing.assert_array_equal(source.sizes, [[133, 200], [133, 200], [133, 90]])
        np.testing.assert_array_equal(source.object_counts, [2, 0, 2])
        np.testing.assert_array_equal(source.target(2).boxes, np.float32([[44, 20, 59, 69], [4, 4, 8, 8]]))
        assert source[2][:2] == b"\xff\xd8"
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.target(2).boxes, source.target(2).boxes)
    part = evenly_spaced(source, 2)
    np.testing.assert_array_equal(part.sizes, source.sizes[:2])
    np.testing.assert_array_equal(part.object_counts, [2, 0])
    np.testing.assert_array_equal(part.target(0).boxes, source.target(0).boxes)
    assert part.coco is None


def test_boxes_that_are_none_are_left_out_with_one_warning(devkit, caplog):
    objects = [("dog", False, box) for box in [(-5, 3, 300, 20), (300, 5, 310, 9), (20, 30, 20, 40), (40, 50, 30, 60)]]
    (devkit / "VOC2007/Annotations/000007.xml").write_text(annotation_with_boxes(133, 200, objects))
    source = create_source("voc_detection", devkit, "2007_trainval")
    np.testing.assert_array_equal(source.target(1).boxes, np.float32([[0, 2, 200, 19]]))
    assert source.target(1).classes.tolist() == [DOG] and source.object_counts.tolist() == [2, 1]
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("VOC 2007_trainval: 3 boxes are narrower than a pixel or lie outside of their image")
    assert line.endswith("the first is in 000007.xml")


def test_boxes_are_clipped_to_the_image():
    boxes, usable = clipped([(-1, -1, 5, 5), (2, 2, 99, 3), (2, 2, 2.5, 9), (12, 2, 20, 9)], height=8, width=10)
    np.testing.assert_array_equal(boxes, np.float32([[0, 0, 5, 5], [2, 2, 10, 3], [2, 2, 2.5, 8], [10, 2, 10, 8]]))
    np.testing.assert_array_equal(usable, [True, True, False, False])
    assert clipped([], 8, 10)[0].shape == (0, 4)


@pytest.mark.parametrize(
    "text, reason",
    [
        (annotation_with_boxes(133, 200, [("unicorn", False, (1, 1, 2, 2))]), "'unicorn' is none of the 20 classes"),
        (
            annotation_with_boxes(133, 200, [("dog", False, (1, "nan", 2, 2))]),
            "ymin of object 1 is 'nan', and no number",
        ),
        (annotation_with_boxes(133, 200, [("dog", False, (1, 1, "", 2))]), "xmax of object 1 is .*, and no number"),
        (annotation_with_boxes(133, 0, []), "an image of 0 x 133 pixels; mend the size"),
        (annotation_with_boxes("tall", 9, []), "height of the size of the image is 'tall', and no number"),
        (annotation([("dog", False)]), "height of the size of the image is not there, and no number"),
        (annotation_with_boxes(133, 200, [("dog", 2, (1, 1, 2, 2))]), "difficult '2'"),
    ],
)
def test_an_annotation_that_is_none_is_refused_in_one_line(devkit, text, reason):
    (devkit / "VOC2007/Annotations/000007.xml").write_text(text)
    with pytest.raises(ValueError, match=f"^data_dir: .*000007.xml.*{reason}") as error:
        create_source("voc_detection", devkit, "2007_trainval")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folder, kind", [("JPEGImages", "jpg"), ("Annotations", "xml")])
def test_annotations_without_images_and_images_without_annotations_are_refused(devkit, folder, kind):
    (devkit / f"VOC2007/{folder}/000007.{kind}").unlink()
    with pytest.raises(FileNotFoundError, match=f"^data_dir: 1 of the .*{folder}/000007.{kind}"):
        create_source("voc_detection", devkit, "2007_trainval")


@pytest.mark.parametrize("split", ["trainval", "2007_trainval+", "2007-test", "2007_trainval,2012_trainval"])
def test_a_split_that_is_none_is_refused(devkit, split):
    with pytest.raises(ValueError, match="^split '.*' is none of VOC's: write YEAR_SPLIT, such as 2007_test"):
        create_source("voc_detection", devkit, split)


def test_a_year_that_is_not_there_is_named(devkit):
    with pytest.raises(
        FileNotFoundError, match="^data_dir: neither .* nor VOCdevkit in it holds VOC2010 with a folder"
    ):
        create_source("voc_detection", devkit, "2010_train")
    with pytest.raises(FileNotFoundError, match="^data_dir: .*test.txt is not there; the splits that are: trainval"):
        create_source("voc_detection", devkit, "2007_test")


def test_classes_may_be_named_beside_the_images(devkit):
    (devkit / "VOC2007/classes.txt").write_text("dog\ncat\n")
    source = create_source("voc_detection", devkit, "2007_trainval")
    assert source.class_names == ["dog", "cat"] and source.target(0).classes.tolist() == [0, 1]
    with pytest.raises(
        ValueError, match="^data_dir: the classes of .*VOC2012 are others than those of the split before"
    ):
        create_source("voc_detection", devkit, "2007_trainval+2012_trainval")


class Shapes:
    """What an image and its objects look like to a transform."""

    takes_target = True

    def outputs(self):
        return {"height": ((), np.int32), "boxes": ((), np.int32)}

    def __call__(self, image, target, seed, epoch, index, out):
        out["height"][...], out["boxes"][...] = len(image), len(target.boxes)


def test_an_image_of_another_size_than_its_annotation_says_cannot_be_read(devkit):
    path = devkit / "VOC2007/Annotations/000007.xml"
    path.write_text(annotation_with_boxes(200, 133, []))
    source = create_source("voc_detection", devkit, "2007_trainval")
    settings = LoaderSettings(2, num_parallel_workers=1, on_bad_image="leave_out")
    (batch,) = EvalLoader(source, Shapes(), settings)
    assert batch.counts.tolist() == [True, False] and batch.arrays["boxes"].tolist() == [2, 0]
    with pytest.raises(RuntimeError, match="000007.jpg: 200 x 133 pixels, and its annotation says 133 x 200$"):
        list(EvalLoader(source, Shapes(), LoaderSettings(2, num_parallel_workers=1, on_bad_image="stop")))


def test_boxes_are_no_masks_for_segmentation(devkit):
    source = create_source("voc_detection", devkit, "2007_trainval")
    with pytest.raises(
        ValueError, match="^dataset: 2 images, .* there are boxes, and no class of each pixel to learn$"
    ):
        look_at_some(source)
