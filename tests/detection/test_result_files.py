"""Result files, COCO's scores of them, and pictures."""

import contextlib
import functools
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from mindbyol.data.objects import Objects
from mindbyol.data.sources import create_source, evenly_spaced
from mindbyol.detection import pictures
from mindbyol.detection.detections import Detections
from mindbyol.detection.results import Found, coco_results, write_coco, write_voc
from mindbyol.evaluation.tools import Tools
from mindbyol.runtime import World
from tests.voc_layout import annotation_with_boxes, write_images

HEIGHT, WIDTH = 60, 80
SQUARE = (10, 20, 40, 50)  # in image 11, a dog
CROWD = (50, 5, 75, 30)  # in image 11, dogs
SMALL = (3, 4, 23, 14)  # in image 7, a car


def coded(*box):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    x1, y1, x2, y2 = box
    mask[y1:y2, x1:x2] = 1
    return pytest.importorskip("pycocotools.mask").encode(np.asfortranarray(mask))["counts"]


def detections(found, with_masks=False):
    """Detections of some (class, score, box)."""
    classes, scores, boxes = zip(*found) if found else ((), (), ())
    masks = [coded(*box) for box in boxes] if with_masks else None
    return Detections(np.float32(boxes).reshape(-1, 4), np.float32(scores), np.int32(classes), masks)


def found_in(*images, with_masks=False):
    found = Found()
    for image, of_image in enumerate(images):
        found.add(image, detections(of_image, with_masks))
    return found


CAR, DOG = 0, 1
PERFECT = [[(CAR, 0.9, SMALL)], [(DOG, 0.8, SQUARE), (DOG, 0.7, CROWD)]]


@pytest.fixture
def source(tmp_path):
    pytest.importorskip("pycocotools", reason="requirements-dense.txt is not installed")
    notes = []
    for number, (image, category, box, crowd) in enumerate([(11, 18, SQUARE, 0), (11, 18, CROWD, 1), (7, 3, SMALL, 0)]):
        x1, y1, x2, y2 = box
        notes.append(
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "iscrowd": crowd,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": coded(*box).decode()},
            }
        )
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    images = [{"id": n, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in (11, 7)]
    for image in images:
        assert cv2.imwrite(str(tmp_path / "val2017" / image["file_name"]), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    content = {
        "images": images,
        "annotations": notes,
        "categories": [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}],
    }
    (tmp_path / "annotations/instances_val2017.json").write_text(json.dumps(content))
    return create_source("coco", tmp_path, "val2017")


def scores(found, source, kinds=("bbox", "segm")):
    from mindbyol.detection.coco_metric import coco_scores

    return coco_scores(found, source.coco, kinds)


def test_what_is_right_scores_a_hundred_and_crowds_do_not_count(source, capsys):
    found = scores(found_in(*PERFECT, with_masks=True), source)
    for kind in ("bbox", "segm"):
        assert [found[f"{kind}_{name}"] for name in ("ap", "ap50", "ap75", "ar100")] == pytest.approx([100] * 4)
        assert f"{kind}_ap_small" in found and not {f"{kind}_ap_medium", f"{kind}_ap_large"} & set(found)
    without_crowd = scores(found_in(PERFECT[0], PERFECT[1][:1], with_masks=True), source)
    assert without_crowd == pytest.approx(found)
    assert capsys.readouterr().out == ""


def test_half_as_good_by_hand(source):
    # the car is missed; the dog is found with an IoU of 30 x 24 / 30 x 30 = 0.8, at 7 of the 10 thresholds
    x1, y1, x2, y2 = SQUARE
    found = scores(found_in([], [(DOG, 0.5, (x1, y1, x2, y2 - 6))]), source, ("bbox",))
    assert found["bbox_ap50"] == found["bbox_ap75"] == pytest.approx(50)
    assert found["bbox_ap"] == pytest.approx(50 * 7 / 10) and found["bbox_ar100"] == pytest.approx(50 * 7 / 10)
    assert not any(name.startswith("segm") for name in found)


def test_nothing_found_scores_nought(source):
    assert scores(found_in([], [], with_masks=True), source)["segm_ap"] == 0


def test_a_part_of_the_images_is_scored_alone(source):
    part = evenly_spaced(source, 1)  # image 7
    assert scores(found_in(PERFECT[0]), part, ("bbox",))["bbox_ap"] == pytest.approx(100)
    assert scores(found_in(PERFECT[0]), source, ("bbox",))["bbox_ap"] == pytest.approx(50)


def numbered_from_one(path):
    """A copy of a file of annotations that COCO's code scores as it is meant: it takes 0 for nothing."""
    content = json.loads(path.read_text())
    for number, one in enumerate(content["annotations"], 1):
        one["id"] = number
    copy = path.with_name("numbered.json")
    copy.write_text(json.dumps(content))
    return copy


def test_a_file_of_results_scores_as_what_was_found(source, tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    jittered = [
        [
            (label, float(rng.uniform(0.3, 1)), np.clip(box + rng.integers(-3, 4, 4), 0, 79))
            for label, _, box in of_image
        ]
        for of_image in PERFECT
    ]
    found = found_in(*jittered, with_masks=True)
    expected = scores(found, source)
    for kind in ("bbox", "segm"):
        path = tmp_path / "results" / f"{kind}.json"
        write_coco(path, coco_results(found, source.coco, kind))
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(numbered_from_one(source.coco.path)))
            run = COCOeval(truth, truth.loadRes(str(path)), kind)
            run.evaluate()
            run.accumulate()
            run.summarize()
        assert 0 < expected[f"{kind}_ap"] < 100 and 100 * run.stats[0] == pytest.approx(expected[f"{kind}_ap"])
    first = json.loads((tmp_path / "results/bbox.json").read_text())[1]
    assert (
        first["image_id"] == 11
        and first["category_id"] == 18
        and set(first)
        == {
            "image_id",
            "category_id",
            "score",
            "bbox",
        }
    )


def test_boxes_of_results_have_a_width_and_a_height(source, tmp_path):
    write_coco(tmp_path / "r.json", coco_results(found_in([(CAR, 1 / 3, (1.23456, 2, 5, 9))], []), source.coco, "bbox"))
    assert json.loads((tmp_path / "r.json").read_text()) == [
        {"image_id": 7, "category_id": 3, "score": 0.333333, "bbox": [1.235, 2.0, 3.765, 7.0]}
    ]


def test_files_of_voc_have_corners_from_one(tmp_path):
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    images = [(f"00000{n}", pixels, annotation_with_boxes(HEIGHT, WIDTH, [])) for n in (4, 6)]
    write_images(tmp_path / "VOC2007", "test", images)
    source = create_source("voc_detection", tmp_path, "2007_test")
    cat, dog = source.class_names.index("cat"), source.class_names.index("dog")
    found = found_in([(dog, 0.25, (0, 1.5, 20, 30))], [(cat, 1, (1, 2, 3, 4)), (dog, 0.5, (5, 6, 7, 8.1239))])
    write_voc(tmp_path / "results", "2007_test", found, source)
    files = {file.name: file.read_text() for file in (tmp_path / "results").iterdir()}
    assert len(files) == 20 and files["comp4_det_2007_test_bus.txt"] == ""
    assert files["comp4_det_2007_test_cat.txt"] == "000006 1.000000 2.000 3.000 4.000 5.000\n"
    assert files["comp4_det_2007_test_dog.txt"] == (
        "000004 0.250000 1.000 2.500 21.000 31.000\n000006 0.500000 6.000 7.000 8.000 9.124\n"
    )


def test_what_all_ranks_have_found_is_put_together():
    left = found_in(PERFECT[0], [], with_masks=True)
    right = Found()
    right.add(1, detections(PERFECT[1], True))
    sent = {id(left): [], id(right): []}

    def gather_of(found):
        def gather(data):
            sent[id(found)].append(data)
            return [data]

        return gather

    for found in (left, right):
        found.of_all_ranks(gather_of(found))
    both = iter(zip(sent[id(left)], sent[id(right)]))
    together = left.of_all_ranks(lambda _: list(next(both)))
    whole = found_in(*PERFECT, with_masks=True)
    np.testing.assert_array_equal(together.rows, whole.rows)
    assert together.masks == whole.masks and len(together.masks) == 3


class Meeting:
    """Where threads gather arrays as ranks do."""

    def __init__(self, ranks):
        self._barrier = threading.Barrier(ranks, timeout=30)
        self._arrays = [None] * ranks

    def gather(self, rank, array):
        assert array.dtype == np.float32
        self._arrays[rank] = array
        self._barrier.wait()
        gathered = np.stack(self._arrays)
        self._barrier.wait()
        return gathered


@pytest.mark.parametrize("lengths", [(5,), (0, 0), (1, 7, 0), (300, 2), (3, 2**20 + 5)])
def test_bytes_of_all_ranks_come_unchanged(lengths):
    data = [np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes() for length in lengths]
    meeting = Meeting(len(lengths))

    def gathered(rank):
        tools = Tools.__new__(Tools)
        tools._world = World("CPU", rank, len(lengths))
        tools._communicator = SimpleNamespace(gather=functools.partial(meeting.gather, rank))
        return tools.gather_bytes(data[rank])

    with ThreadPoolExecutor(len(lengths)) as threads:
        assert list(threads.map(gathered, range(len(lengths)))) == [data] * len(lengths)


def test_a_picture_has_the_ground_truth_on_the_left_and_what_was_found_on_the_right(tmp_path):
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    mask = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    mask[0, 30:40, 20:30] = 1
    truth = Objects(np.float32([SQUARE, CROWD]), np.int32([1, 1]), np.array([False, True]), mask)
    found = detections([(0, 0.95, SMALL), (1, 0.2, SQUARE)])
    picture = pictures.draw(image, truth, found, ["car", "dog"])
    assert picture.shape == (HEIGHT, 2 * WIDTH + 4, 3) and (image == 90).all()
    left, right = picture[:, :WIDTH], picture[:, -WIDTH:]
    x1, y1, x2, y2 = SQUARE
    assert left[y2 - 1, x1].tolist() == left[y1, x2 - 1].tolist() == [0, 128, 0]
    assert left[CROWD[3] - 1, CROWD[0]].tolist() == [160, 160, 160]
    assert left[35, 25].tolist() == [45, 109, 45] and left[45, 35].tolist() == [90, 90, 90]
    assert right[SMALL[3] - 1, SMALL[0]].tolist() == [128, 0, 0] and right[y2 - 1, x1].tolist() == [90, 90, 90]
    pictures.save(tmp_path / "drawn", "val2017/000007.jpg", picture)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "drawn/000007.png")), picture)


def test_masks_that_were_found_are_drawn():
    found = detections([(0, 0.9, SMALL), (1, 0.8, SQUARE)], with_masks=True)
    nothing = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool), None)
    picture = pictures.draw(np.zeros((HEIGHT, WIDTH, 3), np.uint8), nothing, found, ["car", "dog"])
    assert not picture[:, :WIDTH].any() and picture[45, WIDTH + 4 + 30].tolist() == [0, 64, 0]
