"""Mask R-CNN as a whole: its graphs, what it assigns, and that a small one learns eight scenes by heart."""

import json
import re

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="requirements-dense.txt is not installed")

import mindspore as ms  # noqa: E402
from mindspore import Tensor, nn  # noqa: E402

from mindbyol.backbones import create_backbone  # noqa: E402
from mindbyol.byol import Normalize  # noqa: E402
from mindbyol.data.decode import decode  # noqa: E402
from mindbyol.data.sources import create_source  # noqa: E402
from mindbyol.detection.mask_head import OBJECT_SIDE, SIDE  # noqa: E402
from mindbyol.detection.mask_rcnn import (  # noqa: E402
    MaskRCNN,
    MasksIn,
    assign_with_objects,
    keys_per_image,
    on_padded_image,
)
from mindbyol.detection.scoring import score  # noqa: E402
from mindbyol.detection.transforms import TestTransform, TrainTransform, box_mask  # noqa: E402
from mindbyol.detection.two_stage import Detect, Sizes  # noqa: E402
from mindbyol.evaluation.classification import evaluating  # noqa: E402
from mindbyol.training.precision import set_precision  # noqa: E402
from mindbyol.training.schedules import MultiStep  # noqa: E402
from mindbyol.training.step import TrainOneStep  # noqa: E402
from tests import tiny_model  # noqa: E402, F401  (registers the model)
from tests.detection.graphs import in_graph  # noqa: E402
from tests.detection.scenes import SHAPES, write_coco  # noqa: E402

HEIGHT, WIDTH, SCENES, MOST = 64, 96, 8, 4
SIZES = Sizes((4, 6), 32, 60, 30, 60, 30, 20)


def detector(width=64):
    backbone = create_backbone("tiny_resnet", padding="torch", image_size=WIDTH)
    return MaskRCNN(backbone, Normalize([120] * 3, [60] * 3), len(SHAPES), WIDTH, SIZES, width, 2 * width)


def batch(source, count, epoch=0):
    """What the network learns from, of the first images of a source, as the task makes it."""
    keys = keys_per_image((HEIGHT, WIDTH), SIZES, MOST)
    transform = TrainTransform((HEIGHT, WIDTH), WIDTH, (HEIGHT,), 0.0, MOST, keys, OBJECT_SIDE)
    arrays = {name: np.empty((count, *shape), dtype) for name, (shape, dtype) in transform.outputs().items()}
    for index in range(count):
        transform(
            decode(source[index]),
            source.target(index),
            0,
            epoch,
            index,
            {name: array[index] for name, array in arrays.items()},
        )
    arrays["image"] = arrays["image"].reshape(count, 3, HEIGHT, WIDTH)
    del arrays["canvas"]
    return [Tensor(array) for array in arrays.values()]


@pytest.fixture
def source(tmp_path):
    """Eight lying scenes."""
    write_coco(tmp_path, {"val2017": SCENES})
    return create_source("coco", tmp_path, "val2017")


class Tools:
    """The ranks: one."""

    is_first, devices = True, "CPU x 1"

    def one_by_one(self, source, transform):
        return [(index, transform(decode(source[index]), source.target(index))) for index in range(len(source))]

    def gather_bytes(self, data):
        return [data]


def trainer(network, steps, lr=0.05):
    optimizer = nn.SGD(
        network.trainable_params(), MultiStep(lr, 10, [steps * 3 // 4], 0.1), momentum=0.9, weight_decay=1e-4
    )
    return TrainOneStep(network, optimizer)


def scores(network, source):
    transform = TestTransform((HEIGHT, WIDTH), WIDTH, HEIGHT)
    with evaluating(network):
        return score(Detect(network), source, transform, Tools(), "11points", masks_in=MasksIn(network))


@pytest.fixture
def graphs(tmp_path):
    ms.set_context(save_graphs=1, save_graphs_path=str(tmp_path / "graphs"))
    yield tmp_path / "graphs"
    ms.set_context(save_graphs=0)


def check(graphs, least):
    """Neither control flow nor Python is in what was compiled."""
    texts = [file.read_text() for file in graphs.glob("*_validate_*.ir")]
    assert len(texts) >= least
    for text in texts:
        assert not re.findall(r"\b(?:Switch|SwitchLayer|PyExecute|PyInterpret|Partial)\(.*", text)[:3]


def test_a_step_in_half_precision_has_no_control_flow_and_no_python(source, graphs):
    """And the loss, the sum of its parts, falls."""
    network = detector(8)
    set_precision(network, network.half_precision_cells(), "O2", "float16")
    step = trainer(network, 4, 0.02)
    expected = ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask", "acc", "positives", "lr")
    assert step.statistics == expected
    losses = []
    of_step = batch(source, 2)
    for _ in range(4):
        loss, statistics = (array.asnumpy() for array in step(*of_step))
        losses.append(float(loss))
        assert loss == pytest.approx(statistics[:5].sum(), rel=1e-5) and np.isfinite(statistics).all()
    assert losses[-1] < losses[0] and 0 < statistics[6] <= SIZES.roi_samples // 4
    check(graphs, 1)


@pytest.mark.slow
def test_scenes_are_known_by_heart(source, graphs):
    ms.set_seed(1)
    steps = 110
    network = detector()
    step = trainer(network, steps)
    for number in range(steps):
        step(*batch(source, SCENES, number))
    found = scores(network, source)
    assert found["bbox_ap50"] > 95 and found["segm_ap50"] > 90
    check(graphs, 3)


def test_what_finds_all_masks_scores_a_hundred(source, tmp_path):
    """At half the size of the images: boxes go to the network and come back in its pixels."""
    targets = [source.target(index) for index in range(SCENES)]
    turn = iter(range(SCENES))

    def find(images, size):
        index = next(turn)
        assert images.shape == (1, 3, 32, 64) and size.asnumpy().tolist() == [[32, 48]]
        count = len(targets[index].boxes)
        boxes = np.zeros((1, count, len(SHAPES), 4), np.float32) + targets[index].boxes[:, None] / 2
        found = np.zeros((1, count, len(SHAPES)), np.float32)
        found[0, np.arange(count), targets[index].classes] = np.linspace(0.9, 0.5, count)
        return Tensor(boxes), Tensor(found), Tensor(np.int32(index))

    def masks_in(boxes, classes, index):
        target = targets[int(index.asnumpy())]
        count = len(target.boxes)
        np.testing.assert_allclose(boxes.asnumpy()[0, :count], target.boxes / 2, atol=1e-4)
        assert classes.asnumpy()[0, :count].tolist() == target.classes.tolist()
        masks = np.zeros((1, boxes.shape[1], SIDE, SIDE), np.float32)
        masks[0, :count] = [box_mask(mask, box, SIDE) / 255 for mask, box in zip(target.masks, target.boxes)]
        return Tensor(masks)

    transform = TestTransform((32, 64), 64, 32)
    folders = {"pictures_dir": str(tmp_path / "pictures"), "pictured": 1, "detections_dir": str(tmp_path / "found")}
    found = score(find, source, transform, Tools(), "11points", **folders, masks_in=masks_in)
    assert found["bbox_ap"] == pytest.approx(100) and found["segm_ap50"] == pytest.approx(100)
    assert found["segm_ap"] > 90
    of_masks = json.loads((tmp_path / "found/segm.json").read_text())
    assert len(of_masks) == sum(len(target.boxes) for target in targets) and "segmentation" in of_masks[0]
    assert len(json.loads((tmp_path / "found/bbox.json").read_text())) == len(of_masks)
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_objects_take_the_proposals_that_overlap_them_most():
    """The third proposal overlaps the second object by more, but is the best one of the first; the fourth is none."""
    objects = np.float32([[[0, 0, 10, 10], [2, 0, 12, 10], [0, 0, 0, 0]]])
    proposals = np.float32([[[50, 50, 60, 60], [2, 0, 12, 11], [1.5, 0, 11.5, 10], [0, 0, 10, 10]]])
    there = np.array([[True, True, True, False]])
    is_object = np.array([[True, True, False]])
    labels, matched = in_graph(assign_with_objects, proposals, there, objects, is_object)
    assert labels.tolist() == [[0, 1, 1, -1, 1, 1, -1]]
    assert matched[0, [1, 2, 4, 5]].tolist() == [1, 0, 0, 1]


def test_anchors_of_the_padding_of_an_image_take_part_up_to_a_multiple_of_32():
    anchors = np.float32([[x - 60, y - 30, x + 60, y + 30] for x, y in ((0, 0), (60, 28), (64, 0), (0, 32), (92, 60))])
    found = in_graph(on_padded_image, anchors, np.float32([[32, 64], [33, 65], [64, 96]]))
    assert found.tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]


def test_random_numbers_of_the_protocol():
    sizes = Sizes((8,), 256, 2000, 1000, 1000, 1000, 512)
    cells = sum(-(-800 // stride) * -(-1344 // stride) for stride in (4, 8, 16, 32, 64))
    assert keys_per_image((800, 1344), sizes, 100) == 3 * cells + 1000 + 100
    assert keys_per_image((1344, 800), sizes, 100) == keys_per_image((800, 1344), sizes, 100)


def test_parameters_are_named_as_in_checkpoints_of_byol():
    names = {parameter.name for parameter in detector(8).trainable_params()}
    assert {
        "online.backbone.layer1.0.conv1.weight",
        "heads.fpn.laterals.0.0.weight",
        "heads.rpn.conv.weight",
        "heads.roi.classify.bias",
        "heads.mask.classify.weight",
    } <= names
