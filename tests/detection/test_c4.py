import re

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor

from mindbyol.backbones import create_backbone
from mindbyol.byol import Normalize
from mindbyol.detection.c4 import FasterRCNN, keys_per_image
from mindbyol.detection.two_stage import Detect, Sizes
from mindbyol.training.schedules import MultiStep
from mindbyol.training.step import TrainOneStep
from tests import tiny_model  # noqa: F401  (registers the model)

SIZES = Sizes((1, 2, 4), 32, 100, 30, 100, 20, 16)
CANVAS = 64, 96


def detector():
    backbone = create_backbone("tiny_resnet", padding="torch", image_size=96)
    return FasterRCNN(backbone, Normalize([120] * 3, [60] * 3), 3, max(CANVAS), SIZES)


def batch():
    """Two images, the second smaller than the canvas, with one and two objects."""
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (2, 3, *CANVAS), np.uint8),
        "size": np.float32([CANVAS, [50, 80]]),
        "objects": np.float32([[[8, 8, 40, 40], [0] * 4, [0] * 4], [[0, 0, 30, 30], [40, 10, 80, 50], [0] * 4]]),
        "classes": np.int32([[0, 0, 0], [2, 1, 0]]),
        "is_object": np.array([[True, False, False], [True, True, False]]),
        "keys": rng.random((2, keys_per_image(CANVAS, SIZES, 3))).astype(np.float32),
    }


def tensors(batch):
    return [Tensor(array) for array in batch.values()]


@pytest.fixture
def graphs(tmp_path):
    ms.set_context(save_graphs=2, save_graphs_path=str(tmp_path))
    yield tmp_path
    ms.set_context(save_graphs=0)


def test_a_step_and_a_test_have_no_control_flow_and_no_python(graphs):
    """And what is beyond the true size of an image, or padding of its objects, changes nothing."""
    network = detector()
    optimizer = ms.nn.SGD(network.trainable_params(), MultiStep(0.0, 0, [], 0.1))
    step = TrainOneStep(network, optimizer)
    first = [array.asnumpy() for array in step(*tensors(batch()))]
    assert step.statistics == ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "acc", "positives", "lr")
    statistics = dict(zip(step.statistics, first[1]))
    assert first[0] == pytest.approx(sum(value for name, value in statistics.items() if "loss" in name), rel=1e-5)
    assert 0 < statistics["positives"] <= 4 and np.isfinite(first[1]).all()
    other = batch()
    other["images"][1, :, 50:] = 7
    other["images"][1, :, :, 80:] = 7
    other["classes"][0, 1:] = 2
    again = [array.asnumpy() for array in step(*tensors(other))]
    np.testing.assert_allclose(again[1], first[1], rtol=1e-5)

    detect = Detect(network.set_train(False))
    boxes, scores = (array.asnumpy() for array in detect(*tensors(batch())[:2]))
    assert boxes.shape == (2, 20, 3, 4) and scores.shape == (2, 20, 3)
    assert (boxes >= 0).all() and (boxes[1] <= [80, 50, 80, 50]).all() and (scores.sum(-1) < 1).all()
    assert (scores[0] > 0).any()
    for text in (file.read_text() for file in graphs.glob("*_validate_*.ir")):
        found = re.findall(r"\b(?:Switch|SwitchLayer|PyExecute|PyInterpret|Partial)\(.*", text)
        assert not found, found[:3]


def test_parameters_are_named_as_in_checkpoints_of_byol():
    names = {parameter.name for parameter in detector().trainable_params()}
    assert {
        "online.backbone.layer4.0.conv1.weight",
        "heads.rpn.conv.weight",
        "heads.roi.norm.gamma",
        "heads.roi.regress.bias",
    } <= names


def test_random_numbers_of_the_protocol():
    assert keys_per_image((800, 1344), Sizes(), 100) == 50 * 84 * 15 + 2000 + 100
    assert keys_per_image((1344, 800), Sizes(), 100) == keys_per_image((800, 1344), Sizes(), 100)
