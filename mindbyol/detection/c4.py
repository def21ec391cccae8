"""Faster R-CNN on the fourth map of a ResNet ("C4"): its last stage is the head that looks at each region.

With an extra batch norm behind that stage, as the detection protocol of self-supervised learning has it (He et al.
2020, appendix): pre-trained features need not have the scale that a detector's last layers expect.
"""

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Normal

from mindbyol.dense import name_backbone, within
from mindbyol.detection.anchors import grid_anchors, inside
from mindbyol.detection.assignment import assign, sample, take
from mindbyol.detection.boxes import iou
from mindbyol.detection.proposals import Propose
from mindbyol.detection.roi_align import roi_align
from mindbyol.detection.rpn import RPN, rpn_losses
from mindbyol.detection.two_stage import RATIOS, Sizes, boxes_of_classes, region_losses

STRIDE = 16  # of the fourth map
BINS = 14  # of RoIAlign, along a side
STATISTICS = ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "acc", "positives")


def keys_per_image(canvas, sizes, objects):
    """Random numbers that a training step needs of an image: one an anchor, one a proposal, and one an object.

    Args:
        canvas (tuple[int, int]): Height and width of images with padding, multiples of `STRIDE`.
        sizes (Sizes): Of the detector.
        objects (int): Most objects an image, with padding.
    """
    anchors = canvas[0] * canvas[1] // STRIDE**2 * len(sizes.anchor_scales) * len(RATIOS)
    return anchors + min(sizes.train_candidates, sizes.train_proposals, anchors) + objects


class RoIHead(nn.Cell):
    """Says of each region what is in it and where exactly.

    Args:
        channels (int): Of the last stage's map.
        num_classes (int): Without background.

    Inputs:
        Tensor (N, channels, H, W): what the last stage made of N regions.

    Outputs:
        Tuple of logits, (N, num_classes + 1), background last, and deltas, (N, num_classes * 4).
    """

    def __init__(self, channels, num_classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.classify = nn.Dense(channels, num_classes + 1, weight_init=Normal(0.01), bias_init="zeros")
        self.regress = nn.Dense(channels, 4 * num_classes, weight_init=Normal(0.001), bias_init="zeros")

    def construct(self, maps):
        features = self.norm(maps).mean((2, 3))
        return self.classify(features), self.regress(features)


class Heads(nn.Cell):
    """Holds what is beside the backbone, so that its parameters are named `heads.rpn...` and `heads.roi...`."""

    def __init__(self, rpn, roi):
        super().__init__()
        self.rpn = rpn
        self.roi = roi


class FasterRCNN(nn.Cell):
    """The losses of a detector, and what it finds.

    The backbone's parameters are named `online.backbone...`, as in BYOL's checkpoints, the others `heads...`.

    Args:
        backbone (Cell): A ResNet with four stages; see `backbones.create_backbone`.
        normalize (Cell): Applied to the images first.
        num_classes (int): Without background.
        longest (int): Largest side of an image with padding, in pixels.
        sizes (Sizes): Numbers of the detector.

    Attributes:
        statistics (tuple[str]): See `STATISTICS`; `acc` is the share of drawn proposals whose class is right,
            `positives` how many of them are objects, an image.

    Inputs:
        images (Tensor): (B, 3, H, W), what `normalize` takes, H and W multiples of 32. What is beyond the true size is
            padding, whatever it holds: it becomes zero after normalisation.
        size (Tensor): (B, 2) float32, true height and width.
        objects (Tensor): (B, G, 4) float32, boxes within the true size, in pixels of the image.
        classes (Tensor): (B, G) int32, from 0.
        is_object (Tensor): (B, G) bool, False for padding.
        keys (Tensor): (B, `keys_per_image`) float32, random numbers in [0, 1).

    Outputs:
        Tuple of the loss, the sum of the four, and the scalars to log.
    """

    statistics = STATISTICS

    def __init__(self, backbone, normalize, num_classes, longest, sizes=Sizes()):
        super().__init__()
        *_, channels, width = backbone.map_channels
        self.backbone = backbone
        self.normalize = normalize
        self.num_classes = num_classes
        self.sizes = sizes
        side = -(-longest // STRIDE)
        self.anchors = Tensor(grid_anchors(side, side, STRIDE, sizes.anchor_scales, RATIOS))
        self.heads = Heads(RPN(channels, len(sizes.anchor_scales) * len(RATIOS)), RoIHead(width, num_classes))
        self.propose = Propose(sizes.train_candidates, 0.7, sizes.train_proposals)
        self.propose_in_tests = Propose(sizes.test_candidates, 0.7, sizes.test_proposals)
        name_backbone(backbone)
        self.set_train()

    def construct(self, images, size, objects, classes, is_object, keys):
        map_ = self.map_of(images, size)
        anchors = self.anchors_of(map_)
        scores, deltas = self.rpn_of(map_)
        drawn = self.sizes.rpn_samples
        count = anchors.shape[0]
        of_anchors, of_candidates = ops.split(keys, [count, keys.shape[1] - count], 1)
        part = inside(anchors, size)
        rpn_cls, rpn_bbox = rpn_losses(scores, deltas, anchors, part, objects, is_object, of_anchors, drawn, drawn // 2)

        proposals, are_proposals = self.propose(scores, deltas, anchors, size)
        candidates = ops.cat((proposals, objects), 1)
        there = ops.cat((are_proposals, is_object), 1)
        labels, matched = assign(iou(objects, candidates), is_object, there, 0.5, 0.5)
        drawn = self.sizes.roi_samples
        places, is_positive, is_drawn = sample(labels, of_candidates, drawn, drawn // 4)
        boxes, matched = take(candidates, places), take(matched, places)

        logits, deltas = self.look_at(map_, boxes)
        objects, classes = take(objects, matched), take(classes, matched)
        roi_cls, roi_bbox, accuracy, positives = region_losses(
            logits, deltas, boxes, objects, classes, is_positive, is_drawn
        )
        return rpn_cls + rpn_bbox + roi_cls + roi_bbox, (rpn_cls, rpn_bbox, roi_cls, roi_bbox, accuracy, positives)

    def detect(self, images, size):
        """What is found on each proposal, before the suppression of near copies.

        Args:
            images, size: As of the inputs.

        Returns:
            tuple[Tensor, Tensor]: Boxes, (B, P, classes, 4) float32, within the image; and scores, (B, P, classes)
            float32, probabilities, all 0 where there was no proposal.
        """
        map_ = self.map_of(images, size)
        scores, deltas = self.rpn_of(map_)
        proposals, are_proposals = self.propose_in_tests(scores, deltas, self.anchors_of(map_), size)
        logits, deltas = self.look_at(map_, proposals)
        return boxes_of_classes(proposals, are_proposals, logits, deltas, size)

    def map_of(self, images, size):
        """The fourth map: (B, C, H / 16, W / 16)."""
        x = self.normalize(images)
        return self.backbone.maps(x * within(size, *x.shape[2:]), 0, 4)[3]

    def anchors_of(self, map_):
        height, width = map_.shape[2:]
        return self.anchors[:height, :width].reshape(-1, 4)

    def rpn_of(self, map_):
        scores, deltas = self.heads.rpn(map_)
        return scores.astype(ms.float32), deltas.astype(ms.float32)

    def half_precision_cells(self):
        """The cells that mixed precision may touch: stem and stages one by one, since the last one is called alone."""
        cells = [(self.backbone, name) for name in ("conv1", "layer1", "layer2", "layer3", "layer4")]
        return [*cells, (self.heads, "rpn"), (self.heads, "roi")]

    def look_at(self, map_, boxes):
        """The head: boxes (B, R, 4) to logits (B, R, classes + 1), background last, and deltas (B, R, classes, 4)."""
        batch, count = boxes.shape[:2]
        bins = roi_align(map_, boxes, 1.0 / STRIDE, BINS)
        logits, deltas = self.heads.roi(self.backbone.maps(bins, 4, 5)[0])
        logits = logits.astype(ms.float32).reshape(batch, count, -1)
        deltas = deltas.astype(ms.float32).reshape(batch, count, self.num_classes, 4)
        return logits, deltas
