"""The region proposal network (Ren et al. 2015): where on a map there may be objects."""

from mindspore import nn, ops
from mindspore.common.initializer import Normal

from mindbyol.detection.assignment import assign, sample, take
from mindbyol.detection.boxes import encode, iou
from mindbyol.detection.losses import box_loss, objectness_loss


class RPN(nn.Cell):
    """A 3x3 convolution, and two 1x1 ones that give each anchor a score and four numbers.

    Args:
        channels (int): Of the map, and of the layer between.
        anchors (int): Of one position.

    Inputs:
        Tensor (B, channels, H, W).

    Outputs:
        Tuple of scores, (B, H * W * anchors), logits, and deltas, (B, H * W * anchors, 4), see `boxes.encode`.
    """

    def __init__(self, channels, anchors):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, pad_mode="pad", padding=1, has_bias=True, **_small())
        self.relu = nn.ReLU()
        self.score = nn.Conv2d(channels, anchors, 1, has_bias=True, **_small())
        self.delta = nn.Conv2d(channels, 4 * anchors, 1, has_bias=True, **_small())

    def construct(self, map_):
        x = self.relu(self.conv(map_))
        batch = x.shape[0]
        scores = self.score(x).transpose(0, 2, 3, 1).reshape(batch, -1)
        return scores, self.delta(x).transpose(0, 2, 3, 1).reshape(batch, -1, 4)


def _small():
    return {"weight_init": Normal(0.01), "bias_init": "zeros"}


def rpn_losses(scores, deltas, anchors, takes_part, objects, is_object, keys, samples, most_positive):
    """What the network is wrong about.

    Positive is what overlaps an object by 0.7, negative what overlaps all by less than 0.3; each object takes the
    anchors that overlap it most, if by 0.3.

    Args:
        scores (Tensor): (B, A).
        deltas (Tensor): (B, A, 4).
        anchors (Tensor): (A, 4).
        takes_part (Tensor): bool (B, A), False for anchors that nothing is learned from.
        objects (Tensor): (B, G, 4) boxes.
        is_object (Tensor): bool (B, G), False for padding.
        keys (Tensor): (B, A), random numbers in [0, 1).
        samples, most_positive (int): See `assignment.sample`.

    Returns:
        tuple[Tensor, Tensor]: Of objectness and of boxes, scalars.
    """
    overlaps = iou(objects, ops.expand_dims(anchors, 0))
    labels, matched = assign(overlaps, is_object, takes_part, 0.7, 0.3, 0.3)
    places, is_positive, is_drawn = sample(labels, keys, samples, most_positive)
    targets = encode(ops.gather(anchors, places, 0), take(objects, take(matched, places)))
    found = box_loss(take(deltas, places), targets, is_positive, is_drawn)
    return objectness_loss(take(scores, places), is_positive, is_drawn), found
