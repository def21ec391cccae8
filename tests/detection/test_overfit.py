"""A small detector learns eight scenes by heart."""

import numpy as np
import pytest

from mindspore import Tensor, nn

from mindbyol.backbones import create_backbone
from mindbyol.byol import Normalize
from mindbyol.data.objects import Objects
from mindbyol.detection.average_precision import voc_scores
from mindbyol.detection.c4 import FasterRCNN, keys_per_image
from mindbyol.detection.detections import detect
from mindbyol.detection.two_stage import Detect, Sizes
from mindbyol.evaluation.classification import evaluating
from mindbyol.training.schedules import MultiStep
from mindbyol.training.step import TrainOneStep
from tests import tiny_model  # noqa: F401  (registers the model)
from tests.detection.scenes import SHAPES, scene

HEIGHT, WIDTH, SCENES, MOST = 64, 96, 8, 4
SIZES = Sizes((1, 1.5, 2), 32, 200, 40, 200, 30, 24)


def learn(steps):
    """AP50 of a detector on the scenes that it was trained on."""
    rng = np.random.default_rng(0)
    images = np.zeros((SCENES, 3, HEIGHT, WIDTH), np.uint8)
    boxes, classes = np.zeros((SCENES, MOST, 4), np.float32), np.zeros((SCENES, MOST), np.int32)
    is_object = np.zeros((SCENES, MOST), bool)
    targets = []
    for number in range(SCENES):
        image, of_image, kinds = scene(rng, HEIGHT, WIDTH)
        count = len(kinds)
        images[number] = image.transpose(2, 0, 1)
        boxes[number, :count], classes[number, :count], is_object[number, :count] = of_image, kinds, True
        targets.append(Objects(of_image, kinds, np.zeros(count, bool), None))
    size = np.full((SCENES, 2), (HEIGHT, WIDTH), np.float32)

    backbone = create_backbone("tiny_resnet", padding="torch", image_size=WIDTH)
    network = FasterRCNN(backbone, Normalize([120] * 3, [60] * 3), len(SHAPES), WIDTH, SIZES)
    schedule = MultiStep(0.02, 10, [steps * 3 // 4], 0.1)
    optimizer = nn.SGD(network.trainable_params(), schedule, momentum=0.9, weight_decay=1e-4)
    step = TrainOneStep(network, optimizer)
    keys = keys_per_image((HEIGHT, WIDTH), SIZES, MOST)
    for _ in range(steps):
        drawn = rng.random((SCENES, keys)).astype(np.float32)
        step(*map(Tensor, (images, size, boxes, classes, is_object, drawn)))

    with evaluating(network):
        found = [array.asnumpy() for array in Detect(network)(Tensor(images), Tensor(size))]
    rows = []
    for number, (of_image, scores) in enumerate(zip(*found)):
        left, _ = detect(of_image, scores, (HEIGHT, WIDTH), (HEIGHT, WIDTH))
        rows += [(number, *one) for one in np.column_stack([left.classes, left.scores, left.boxes])]
    return voc_scores(np.array(rows).reshape(-1, 7), targets, SHAPES, "11points")["ap50"]


def test_scenes_begin_to_be_known():
    assert learn(60) > 10  # of an untrained one it is 0


@pytest.mark.slow
def test_scenes_are_known_by_heart():
    assert learn(240) > 95
