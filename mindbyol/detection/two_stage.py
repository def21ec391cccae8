"""What detectors have in common that first propose regions and then look at each: their numbers and second losses."""

from typing import NamedTuple

import mindspore as ms
from mindspore import nn, ops

from mindbyol.detection.boxes import clip, decode, encode
from mindbyol.detection.losses import box_loss, class_loss

RATIOS = (0.5, 1.0, 2.0)  # height over width of the anchors
STDS = (0.1, 0.1, 0.2, 0.2)  # what the head's deltas are divided by


class Sizes(NamedTuple):
    """Numbers of a detector, as MMDetection has them for C4.

    Attributes:
        anchor_scales (tuple[float]): Sides of the square anchors, in strides of the map.
        rpn_samples (int): Anchors that a training step takes of an image, at most half of them positive.
        train_candidates, train_proposals (int): Anchors of each map with the highest scores, and what is left of all of
            them after the suppression, in training.
        test_candidates, test_proposals (int): The same in tests.
        roi_samples (int): Proposals that a training step takes of an image, at most a quarter of them positive.
    """

    anchor_scales: tuple = (2, 4, 8, 16, 32)
    rpn_samples: int = 256
    train_candidates: int = 12000
    train_proposals: int = 2000
    test_candidates: int = 6000
    test_proposals: int = 1000
    roi_samples: int = 512


def region_losses(logits, deltas, boxes, objects, classes, is_positive, is_drawn):
    """What a head is wrong about.

    Args:
        logits (Tensor): (B, N, classes + 1) float32, background last.
        deltas (Tensor): (B, N, classes, 4) float32.
        boxes (Tensor): (B, N, 4), the regions that were looked at.
        objects (Tensor): (B, N, 4), the object of each positive region; any box for the others.
        classes (Tensor): int32 (B, N), the class of each positive region; any class for the others.
        is_positive, is_drawn (Tensor): bool (B, N), see `assignment.sample`.

    Returns:
        tuple[Tensor, Tensor, Tensor, Tensor]: Scalars: losses of classes and of boxes, the share of drawn regions whose
        class is right, and positive regions an image.
    """
    num_classes = deltas.shape[2]
    true_class = ops.select(is_positive, classes, ops.full_like(classes, num_classes))
    is_own = (ops.expand_dims(classes, 2) == ops.arange(num_classes).astype(ms.int32)).astype(ms.float32)
    deltas = (deltas * ops.expand_dims(is_own, 3)).sum(2)
    of_classes = class_loss(logits, true_class, is_drawn)
    of_boxes = box_loss(deltas, encode(boxes, objects, STDS), is_positive, is_drawn)

    counts = is_drawn.astype(ms.float32)
    right = (ops.argmax(logits, -1).astype(ms.int32) == true_class).astype(ms.float32)
    accuracy = (right * counts).sum() / ops.maximum(counts.sum(), 1.0)
    return of_classes, of_boxes, accuracy, is_positive.astype(ms.float32).sum() / is_positive.shape[0]


def boxes_of_classes(proposals, are_proposals, logits, deltas, size):
    """What a head says of proposals: a box and a probability for each class.

    Args:
        proposals (Tensor): (B, P, 4).
        are_proposals (Tensor): bool (B, P).
        logits, deltas (Tensor): See `region_losses`.
        size (Tensor): (B, 2), true height and width of each image.

    Returns:
        tuple[Tensor, Tensor]: Boxes, (B, P, classes, 4) float32, within the image; and scores, (B, P, classes)
        float32, probabilities, all 0 where there was no proposal.
    """
    probabilities, _ = ops.split(ops.softmax(logits, -1), [deltas.shape[2], 1], 2)
    boxes = clip(decode(ops.expand_dims(proposals, 2), deltas, STDS), size)
    return boxes, probabilities * ops.expand_dims(are_proposals.astype(ms.float32), 2)


class Detect(nn.Cell):
    """`detect` of a detector as a graph of its own."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, images, size):
        return self.network.detect(images, size)
