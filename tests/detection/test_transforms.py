"""What becomes of an image and its objects: sizes, boxes and masks by hand, and as the loader makes them."""

import logging

import cv2
import numpy as np
import pytest

from mindbyol.data.decode import decode
from mindbyol.data.loader import LoaderSettings, PretrainLoader
from mindbyol.data.objects import Objects
from mindbyol.data.one_by_one import OneByOne
from mindbyol.data.sources import create_source
from mindbyol.detection.images import for_training
from mindbyol.detection.transforms import TestTransform, TrainTransform, box_mask, mirror_boxes, scale_boxes
from tests.voc_layout import annotation_with_boxes, write_images

CANVAS, LONG, SHORTS, MOST, KEYS = (96, 160), 150, (64, 80, 96), 3, 500


def transform(hflip=0.0, shorts=SHORTS, mask_side=None, most=MOST):
    return TrainTransform(CANVAS, LONG, shorts, hflip, most, KEYS, mask_side)


def made(image, objects, of=None, seed=1, epoch=0, index=0):
    of = of or transform()
    out = {name: np.full(shape, 77).astype(dtype) for name, (shape, dtype) in of.outputs().items()}
    of(image, objects, seed=seed, epoch=epoch, index=index, out=out)
    return out


def objects(boxes, classes=None, neutral=None, masks=None):
    count = len(boxes)
    classes = np.arange(count) if classes is None else classes
    neutral = np.zeros(count, bool) if neutral is None else np.array(neutral)
    return Objects(np.float32(boxes).reshape(-1, 4), np.int32(classes), neutral, masks)


@pytest.fixture(scope="module")
def lying(photos):
    return photos[0]  # 133 x 200


def test_an_image_is_resized_within_both_sides_and_its_boxes_with_it(lying):
    out = made(lying, objects([(10, 20, 100, 133), (0, 0, 200, 133)]), transform(shorts=(80,)))
    height, width = 80, 120  # 80 / 133 is less than 150 / 200; 200 * 80 / 133 is 120.3
    assert out["size"].tolist() == [height, width]
    expected = np.float32([[10 * 0.6, 20 * 80 / 133, 60, 80], [0, 0, 120, 80]])
    np.testing.assert_allclose(out["boxes"][:2], expected, rtol=1e-6)
    image = out["image"].reshape(3, *CANVAS)
    np.testing.assert_array_equal(image[:, :80, :120].transpose(1, 2, 0), cv2.resize(lying, (120, 80)))
    assert not image[:, 80:].any() and not image[:, :, 120:].any()
    wide = np.concatenate([lying, lying], 1)  # now the longer side decides: 400 pixels become 150
    assert made(wide, objects([]))["size"].tolist() == [50, 150]


def test_an_upright_image_that_becomes_as_wide_as_high_says_which_canvas_it_is_on(lying):
    upright = cv2.resize(lying, (999, 1000))
    out = made(upright, objects([]), transform(shorts=(64,)))
    assert out["size"].tolist() == [64, 64] and out["canvas"].tolist() == [160, 96]
    np.testing.assert_array_equal(out["image"].reshape(3, 160, 96)[0, :64, :64], cv2.resize(upright, (64, 64))[..., 0])


def test_an_upright_image_has_an_upright_canvas(lying):
    upright = np.ascontiguousarray(lying.transpose(1, 0, 2))
    out = made(upright, objects([(20, 10, 133, 100)]), transform(shorts=(80,)))
    assert out["size"].tolist() == [120, 80]
    image = out["image"].reshape(3, *CANVAS[::-1])
    np.testing.assert_array_equal(image[:, :120, :80].transpose(1, 2, 0), cv2.resize(upright, (80, 120)))
    assert not image[:, 120:].any() and not image[:, :, 80:].any()
    np.testing.assert_allclose(out["boxes"][0], [20 * 80 / 133, 6, 80, 60], rtol=1e-6)


def test_mirrored_boxes_and_masks_lie_where_the_pixels_do():
    image = np.zeros((90, 150, 3), np.uint8)
    mask = np.zeros((90, 150), np.uint8)
    mask[20:40, 30:60] = 1
    mask[20:30, 30:40] = 0
    image[mask == 1] = 255
    given = objects([(30, 20, 60, 40)], masks=mask[None])
    plain = made(image, given, transform(0.0, (90,), mask_side=10))
    mirrored = made(image, given, transform(1.0, (90,), mask_side=10))
    assert plain["size"].tolist() == mirrored["size"].tolist() == [90, 150]
    assert plain["boxes"][0].tolist() == [30, 20, 60, 40] and mirrored["boxes"][0].tolist() == [90, 20, 120, 40]
    pixels = [one["image"].reshape(3, *CANVAS)[0, :90, :150] for one in (plain, mirrored)]
    np.testing.assert_array_equal(pixels[1], pixels[0][:, ::-1])
    rows, columns = np.nonzero(pixels[1])
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (90, 20, 120, 40)
    np.testing.assert_array_equal(mirrored["masks"][0], plain["masks"][0][:, ::-1])
    np.testing.assert_array_equal(plain["masks"][0][[0, 0, 9], [0, 9, 0]], [0, 255, 255])


def test_half_of_the_images_are_mirrored_and_each_short_side_comes_as_often(lying):
    given, of = objects([(0, 0, 20, 20)]), transform(0.5)
    found = [made(lying, given, of, index=index) for index in range(300)]
    assert 120 < sum(one["boxes"][0, 0] > 0 for one in found) < 180
    heights = np.bincount([int(one["size"][0]) for one in found], minlength=100)
    assert np.flatnonzero(heights).tolist() == [64, 80, 96] and heights[[64, 80, 96]].min() > 80


def test_objects_are_filled_up_and_neutral_ones_are_none(lying):
    boxes = [(10 * k, 10, 10 * k + 9, 30) for k in range(1, 6)]
    out = made(lying, objects(boxes, [4, 3, 2, 1, 0], [True, False, True, False, False]), transform(most=4))
    assert out["valid"].tolist() == [True, True, True, False]
    assert out["classes"].tolist() == [3, 1, 0, 0] and not out["boxes"][3].any()
    out = made(lying, objects(boxes), transform(most=2))
    assert out["valid"].all() and out["classes"].tolist() == [0, 1]
    out = made(lying, objects([]), transform(mask_side=4))
    assert not any(out[name].any() for name in ("valid", "boxes", "classes", "masks"))


def test_keys_are_a_function_of_seed_epoch_and_index(lying):
    first = made(lying, objects([]))["keys"]
    assert first.dtype == np.float32 and first.shape == (KEYS,) and (0 <= first).all() and (first < 1).all()
    np.testing.assert_array_equal(first, made(lying, objects([]))["keys"])
    for other in ({"seed": 2}, {"epoch": 1}, {"index": 1}):
        assert not np.array_equal(first, made(lying, objects([]), **other)["keys"])
    assert 0.4 < first.mean() < 0.6


def test_boxes_follow_the_rounded_size_and_are_clipped():
    boxes = np.float32([[3, 5, 101, 67]])
    np.testing.assert_allclose(
        scale_boxes(boxes, (67, 101), (22, 34)), [[3 * 34 / 101, 5 * 22 / 67, 34, 22]], rtol=1e-6
    )
    assert scale_boxes(np.float32([[0, 0, 7, 7]]), (7, 7), (3, 3)).max() <= 3
    np.testing.assert_array_equal(mirror_boxes(np.float32([[1, 2, 5, 9]]), 20), [[15, 2, 19, 9]])


@pytest.mark.parametrize("side", [1, 3, 4, 7])
def test_a_mask_within_a_box_has_the_area_that_it_covers(side):
    mask = np.random.default_rng(0).integers(0, 2, (12, 15)).astype(np.uint8)
    box = (2.25, 1.5, 13.75, 11.0)
    found = box_mask(mask, box, side)
    x1, y1, x2, y2 = box
    for row in range(side):
        for column in range(side):
            left, right = (x1 + (x2 - x1) * place / side for place in (column, column + 1))
            top, bottom = (y1 + (y2 - y1) * place / side for place in (row, row + 1))
            covered = 0.0
            for y in range(12):
                for x in range(15):
                    across, down = min(right, x + 1) - max(left, x), min(bottom, y + 1) - max(top, y)
                    covered += mask[y, x] * max(across, 0) * max(down, 0)
            assert abs(found[row, column] - 255 * covered / ((right - left) * (bottom - top))) <= 0.5 + 1e-6


def test_a_whole_mask_is_255_everywhere_at_any_size():
    for box in [(0, 0, 15, 12), (3.3, 2.7, 4.9, 11.1)]:
        assert (box_mask(np.ones((12, 15), np.uint8), box, 5) == 255).all()


@pytest.fixture
def devkit(tmp_path, photos):
    root = tmp_path / "VOC2007"
    boxes = [("dog", False, (11, 21, 60, 70)), ("cat", True, (1, 1, 90, 90))]
    upright = [np.ascontiguousarray(photo.transpose(1, 0, 2)) for photo in photos]
    images = []
    for number in range(12):
        photo = (photos if number % 3 else upright)[number % 2]
        found = boxes if number else [boxes[0]] * 5
        images.append((f"{number:06d}", photo, annotation_with_boxes(*photo.shape[:2], found)))
    images.append(("000100", photos[0], annotation_with_boxes(133, 200, [])))
    images.append(("000101", photos[0][:31], annotation_with_boxes(31, 200, [boxes[0]])))
    images.append(("000102", photos[0], annotation_with_boxes(133, 200, [boxes[1]])))
    write_images(root, "trainval", images)
    return tmp_path


def test_images_without_objects_and_small_ones_are_left_out_and_surplus_objects_counted(devkit, caplog):
    caplog.set_level(logging.INFO)
    source = create_source("voc_detection", devkit, "2007_trainval")
    found = for_training(source, 3)
    names = [found.name(place)[-10:-4] for place in range(len(found))]
    assert names == [*(f"{number:06d}" for number in range(12)), "000102"]
    assert found.groups.tolist() == [number % 3 > 0 for number in range(12)] + [True]
    assert "max_objects: 1 of 13 images have more than 3 objects to learn; 2 of 16 objects are left out" in caplog.text
    assert "2 of 15 images, 29 objects of 20 classes, VOC 2007_trainval have no object, or are too small" in caplog.text
    caplog.clear()
    for_training(source, 5)
    assert "max_objects" not in caplog.text


def test_a_split_with_nothing_to_learn_is_refused(devkit):
    (devkit / "VOC2007/ImageSets/Main/val.txt").write_text("000100\n000101\n")
    source = create_source("voc_detection", devkit, "2007_val")
    with pytest.raises(
        ValueError, match="^dataset: 2 images, .* no image has an object and a shorter side of 32 pixels"
    ):
        for_training(source, 3)


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_a_batch_has_one_canvas(devkit, worker_type):
    source = for_training(create_source("voc_detection", devkit, "2007_trainval"), 3)
    settings = LoaderSettings(2, num_parallel_workers=2, worker_type=worker_type)
    loader = PretrainLoader(source, transform(0.5), settings, epochs=1)
    batches = list(loader.batches())
    assert len(batches) == loader.batches_per_epoch == 6
    for batch in batches:
        tall = batch.arrays["size"][:, 0] > batch.arrays["size"][:, 1]
        assert tall.all() or not tall.any()
        for row, index in enumerate(batch.indices.tolist()):
            of = transform(0.5)
            expected = made(decode(source[index]), source.target(index), of, settings.seed, 0, index)
            for name, array in expected.items():
                np.testing.assert_array_equal(batch.arrays[name][row], array)


def test_tests_see_each_image_on_its_canvas_and_its_objects_as_they_were(devkit):
    source = create_source("voc_detection", devkit, "2007_trainval")
    found = dict(OneByOne(source, TestTransform(CANVAS, LONG, 80), LoaderSettings(1, num_parallel_workers=1)))
    assert len(found) == 15
    for index, shape, size in ((0, (160, 96), (120, 80)), (1, (96, 160), (80, 120)), (13, (96, 160), (23, 150))):
        original, image, of_image, target = found[index]
        assert image.shape == (3, *shape) and of_image.tolist() == list(size) and of_image.dtype == np.float32
        np.testing.assert_array_equal(original, decode(source[index]))
        np.testing.assert_array_equal(target.boxes, source.target(index).boxes)
        assert image[:, : size[0], : size[1]].any() and not image[:, size[0] :].any()
        assert not image[:, :, size[1] :].any()
