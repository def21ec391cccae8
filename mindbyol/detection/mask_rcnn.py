"""Mask R-CNN (He et al. 2017) on a feature pyramid: boxes and masks, with batch norms in neck and heads."""

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Normal

from mindbyol.dense import name_backbone, within
from mindbyol.detection.anchors import grid_anchors
from mindbyol.detection.assignment import POSITIVE, UNUSED, assign, sample, take
from mindbyol.detection.boxes import iou
from mindbyol.detection.fpn import FPN, REGION_STRIDES, STRIDES, PyramidAlign, conv_norm
from mindbyol.detection.mask_head import SIDE, MaskHead, fan_out, mask_loss, mask_targets, masks_of_classes
from mindbyol.detection.proposals import ProposeOnLevels
from mindbyol.detection.rpn import RPN, rpn_losses
from mindbyol.detection.two_stage import RATIOS, Sizes, boxes_of_classes, region_losses

WIDTH, HIDDEN = 256, 1024  # channels of the pyramid; of the last layer of the box head
BOX_BINS, MASK_BINS = 7, 14  # of RoIAlign, along a side
STATISTICS = ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask", "acc", "positives")


def keys_per_image(canvas, sizes, objects):
    """Random numbers that a training step needs of an image: one an anchor, one a proposal, and one an object.

    Args:
        canvas (tuple[int, int]): Height and width of images with padding, multiples of 32.
        sizes (Sizes): Of the detector.
        objects (int): Most objects an image, with padding.
    """
    per_cell = len(sizes.anchor_scales) * len(RATIOS)
    of_levels = [-(-canvas[0] // stride) * -(-canvas[1] // stride) * per_cell for stride in STRIDES]
    candidates = sum(min(count, sizes.train_candidates) for count in of_levels)
    return sum(of_levels) + min(candidates, sizes.train_proposals) + objects


class BoxHead(nn.Cell):
    """Says of each region what is in it and where exactly: four convolutions and a linear layer.

    Args:
        channels (int): Of the maps.
        num_classes (int): Without background.
        hidden (int): Width of the linear layer.

    Inputs:
        Tensor (N, channels, 7, 7), the bins of N regions.

    Outputs:
        Tuple of logits, (N, num_classes + 1), background last, and deltas, (N, num_classes * 4).
    """

    def __init__(self, channels, num_classes, hidden):
        super().__init__()
        layers = []
        for _ in range(4):
            layers += [conv_norm(channels, channels, 3, fan_out()), nn.ReLU()]
        self.convs = nn.SequentialCell(layers)
        self.shared = nn.Dense(channels * BOX_BINS**2, hidden, weight_init="XavierUniform", bias_init="zeros")
        self.relu = nn.ReLU()
        self.classify = nn.Dense(hidden, num_classes + 1, weight_init=Normal(0.01), bias_init="zeros")
        self.regress = nn.Dense(hidden, 4 * num_classes, weight_init=Normal(0.001), bias_init="zeros")

    def construct(self, bins):
        x = self.convs(bins)
        x = self.relu(self.shared(x.reshape(x.shape[0], -1)))
        return self.classify(x), self.regress(x)


class Heads(nn.Cell):
    """Holds what is beside the backbone, so that its parameters are named `heads.fpn...`, `heads.rpn...` and so on."""

    def __init__(self, channels, anchors, num_classes, width, hidden):
        super().__init__()
        self.fpn = FPN(channels, width)
        self.rpn = RPN(width, anchors)
        self.roi = BoxHead(width, num_classes, hidden)
        self.mask = MaskHead(width, num_classes)


class MaskRCNN(nn.Cell):
    """The losses of a detector with masks, and what it finds.

    The backbone's parameters are named `online.backbone...`, as in BYOL's checkpoints, the others `heads...`.

    Args:
        backbone (Cell): A ResNet with four stages; see `backbones.create_backbone`.
        normalize (Cell): Applied to the images first.
        num_classes (int): Without background.
        longest (int): Largest side of an image with padding, in pixels.
        sizes (Sizes): Numbers of the detector; candidates are those of each map.
        width, hidden (int): Channels of the pyramid and of the box head's last layer.

    Attributes:
        statistics (tuple[str]): See `STATISTICS`; `acc` is the share of drawn proposals whose class is right,
            `positives` how many of them are objects, an image.

    Inputs:
        images, size, objects, classes, is_object (Tensor): As of `c4.FasterRCNN`.
        masks (Tensor): (B, G, `mask_head.OBJECT_SIDE`, the same) uint8, see `transforms.box_mask`; 0 for padding.
        keys (Tensor): (B, `keys_per_image`) float32, random numbers in [0, 1).

    Outputs:
        Tuple of the loss, the sum of the five, and the scalars to log.
    """

    statistics = STATISTICS

    def __init__(self, backbone, normalize, num_classes, longest, sizes=Sizes(), width=WIDTH, hidden=HIDDEN):
        super().__init__()
        self.backbone = backbone
        self.normalize = normalize
        self.num_classes = num_classes
        self.sizes = sizes
        self.anchors = tuple(
            Tensor(grid_anchors(-(-longest // stride), -(-longest // stride), stride, sizes.anchor_scales, RATIOS))
            for stride in STRIDES
        )
        per_cell = len(sizes.anchor_scales) * len(RATIOS)
        self.heads = Heads(backbone.map_channels[1:], per_cell, num_classes, width, hidden)
        self.propose = ProposeOnLevels(sizes.train_candidates, 0.7, sizes.train_proposals)
        self.propose_in_tests = ProposeOnLevels(sizes.test_candidates, 0.7, sizes.test_proposals)
        self.align, self.align_for_masks = PyramidAlign(BOX_BINS), PyramidAlign(MASK_BINS)
        name_backbone(backbone)
        self.set_train()

    def construct(self, images, size, objects, classes, is_object, masks, keys):
        maps = self.maps_of(images, size)
        scores, deltas, anchors = self.rpn_of(maps)
        all_anchors = ops.cat(anchors, 0)
        count = all_anchors.shape[0]
        of_anchors, of_candidates = ops.split(keys, [count, keys.shape[1] - count], 1)
        drawn = self.sizes.rpn_samples
        rpn_cls, rpn_bbox = rpn_losses(
            ops.cat(scores, 1),
            ops.cat(deltas, 1),
            all_anchors,
            on_padded_image(all_anchors, size),
            objects,
            is_object,
            of_anchors,
            drawn,
            drawn // 2,
        )

        proposals, are_proposals = self.propose(scores, deltas, anchors, size)
        labels, matched = assign_with_objects(proposals, are_proposals, objects, is_object)
        candidates = ops.cat((proposals, objects), 1)
        drawn = self.sizes.roi_samples
        places, is_positive, is_drawn = sample(labels, of_candidates, drawn, drawn // 4)
        boxes, matched = take(candidates, places), take(matched, places)
        own_box, own_class = take(objects, matched), take(classes, matched)
        logits, deltas = self.look_at(maps, boxes)
        roi_cls, roi_bbox, accuracy, positives = region_losses(
            logits, deltas, boxes, own_box, own_class, is_positive, is_drawn
        )

        # the positive ones are the first
        most = drawn // 4
        boxes, own_box, own_class = boxes[:, :most], own_box[:, :most].reshape(-1, 4), own_class[:, :most]
        own_masks = take(masks.astype(ms.float32) / 255.0, matched[:, :most])
        targets = mask_targets(own_masks.reshape((-1,) + own_masks.shape[2:]), own_box, boxes.reshape(-1, 4))
        of_class = masks_of_classes(self.mask_logits(maps, boxes), own_class.reshape(-1))
        mask = mask_loss(of_class, targets, is_positive[:, :most].reshape(-1))

        losses = rpn_cls, rpn_bbox, roi_cls, roi_bbox, mask
        return rpn_cls + rpn_bbox + roi_cls + roi_bbox + mask, losses + (accuracy, positives)

    def detect(self, images, size):
        """What is found on each proposal, before the suppression of near copies.

        Args:
            images, size: As of the inputs.

        Returns:
            tuple[Tensor]: Boxes, (B, P, classes, 4) float32, within the image; scores, (B, P, classes) float32,
            probabilities, all 0 where there was no proposal; and P2 to P5, for `masks_in`.
        """
        maps = self.maps_of(images, size)
        scores, deltas, anchors = self.rpn_of(maps)
        proposals, are_proposals = self.propose_in_tests(scores, deltas, anchors, size)
        logits, deltas = self.look_at(maps, proposals)
        return boxes_of_classes(proposals, are_proposals, logits, deltas, size) + maps[: len(REGION_STRIDES)]

    def masks_in(self, boxes, classes, *maps):
        """The masks of what was found.

        Args:
            boxes (Tensor): (B, R, 4) float32, in pixels.
            classes (Tensor): int32 (B, R).
            maps (Tensor): P2 to P5, as `detect` gives them.

        Returns:
            Tensor: (B, R, 28, 28) float32, probabilities.
        """
        found = masks_of_classes(self.mask_logits(maps, boxes), classes.reshape(-1))
        return ops.sigmoid(found).reshape(boxes.shape[0], boxes.shape[1], SIDE, SIDE)

    def maps_of(self, images, size):
        """P2 to P6, float32."""
        x = self.normalize(images)
        maps = self.backbone.maps(x * within(size, *x.shape[2:]))
        return self.float32(self.heads.fpn(maps[1], maps[2], maps[3], maps[4]))

    def float32(self, tensors):
        found = ()
        for tensor in tensors:
            found += (tensor.astype(ms.float32),)
        return found

    def rpn_of(self, maps):
        """Scores (B, A), deltas (B, A, 4) and anchors (A, 4) of each map."""
        scores, deltas, anchors = (), (), ()
        for place in range(len(STRIDES)):
            of_scores, of_deltas = self.heads.rpn(maps[place])
            height, width = maps[place].shape[2:]
            scores += (of_scores.astype(ms.float32),)
            deltas += (of_deltas.astype(ms.float32),)
            anchors += (self.anchors[place][:height, :width].reshape(-1, 4),)
        return scores, deltas, anchors

    def look_at(self, maps, boxes):
        """The box head: boxes (B, R, 4) to logits (B, R, classes + 1), background last, and (B, R, classes, 4)."""
        batch, count = boxes.shape[:2]
        logits, deltas = self.heads.roi(self.align(maps, boxes))
        logits = logits.astype(ms.float32).reshape(batch, count, -1)
        return logits, deltas.astype(ms.float32).reshape(batch, count, self.num_classes, 4)

    def mask_logits(self, maps, boxes):
        """The mask head: boxes (B, R, 4) to (B * R, classes, 28, 28)."""
        return self.heads.mask(self.align_for_masks(maps, boxes)).astype(ms.float32)

    def half_precision_cells(self):
        """The cells that mixed precision may touch: stem and stages one by one, the pyramid's layers, and the heads."""
        cells = [(self.backbone, name) for name in ("conv1", "layer1", "layer2", "layer3", "layer4")]
        cells += [
            (layers, str(place)) for layers in (self.heads.fpn.laterals, self.heads.fpn.outputs) for place in range(4)
        ]
        return cells + [(self.heads, name) for name in ("rpn", "roi", "mask")]


def on_padded_image(anchors, sizes):
    """Which anchors have their cell on an image that is filled up to multiples of 32, as MMDetection has it.

    Args:
        anchors (Tensor): (A, 4).
        sizes (Tensor): (B, 2), true height and width of each image.

    Returns:
        Tensor: bool (B, A).
    """
    x1, y1, x2, y2 = ops.unbind(ops.expand_dims(anchors, 0), 2)  # (1, A)
    height, width = ops.split(ops.ceil(sizes / 32.0) * 32.0, 1, 1)  # (B, 1)
    # whole numbers, but for their rounding
    return ops.logical_and((x1 + x2) * 0.5 < width - 0.5, (y1 + y2) * 0.5 < height - 0.5)


def assign_with_objects(proposals, are_proposals, objects, is_object):
    """Gives each proposal an object, or none; behind the proposals stand the objects, each its own.

    An object also takes the proposals that overlap it most, if by 0.5, whatever else they belong to.

    Args:
        proposals (Tensor): (B, P, 4).
        are_proposals (Tensor): bool (B, P).
        objects (Tensor): (B, G, 4).
        is_object (Tensor): bool (B, G).

    Returns:
        tuple[Tensor, Tensor]: int32 (B, P + G) both, see `assignment.assign`.
    """
    labels, matched = assign(iou(objects, proposals), is_object, are_proposals, 0.5, 0.5, 0.5)
    own = is_object.astype(ms.int32) * (POSITIVE - UNUSED) + UNUSED
    numbers = ops.zeros_like(own) + ops.arange(is_object.shape[1]).astype(ms.int32)
    return ops.cat((labels, own), 1), ops.cat((matched, numbers), 1)


class MasksIn(nn.Cell):
    """`MaskRCNN.masks_in` as a graph of its own."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, boxes, classes, *maps):
        return self.network.masks_in(boxes, classes, *maps)
