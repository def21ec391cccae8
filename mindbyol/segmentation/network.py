"""Fully convolutional networks (Long et al. 2015) as MMSegmentation and the BYOL paper put them on a dilated ResNet."""

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import HeNormal, Normal

from mindbyol.data.masks import IGNORED
from mindbyol.dense import Stages, name_backbone, within


def conv_unit(in_channels, channels, dilation=1):
    """3x3 convolution, batch norm, ReLU; the map stays as large as it is."""
    conv = nn.Conv2d(
        in_channels,
        channels,
        3,
        pad_mode="pad",
        padding=dilation,
        dilation=dilation,
        weight_init=HeNormal(mode="fan_out", nonlinearity="relu"),
    )
    return nn.SequentialCell(conv, nn.BatchNorm2d(channels), nn.ReLU())


class FCNHead(nn.Cell):
    """Convolutions on a map, then the score of each class at each place.

    Args:
        in_channels (int): Of the map.
        channels (int): Of each convolution.
        num_classes (int): Classes.
        convs (int): How many convolutions there are.
        dilation (int): Theirs.
        concat (bool): Whether one more convolution looks at the map and at what became of it together.

    Inputs:
        x (Tensor): (N, in_channels, H, W).
        kept (Tensor): (N, channels), what each channel is multiplied by before the scores, see `channel_dropout`; None
            where nothing is dropped.

    Outputs:
        Tensor (N, num_classes, H, W).
    """

    def __init__(self, in_channels, channels, num_classes, convs, dilation=1, concat=False):
        super().__init__()
        units = [conv_unit(channels if place else in_channels, channels, dilation) for place in range(convs)]
        self.convs = nn.SequentialCell(units)
        self.after_concat = conv_unit(in_channels + channels, channels) if concat else None
        self.scores = nn.Conv2d(channels, num_classes, 1, has_bias=True, weight_init=Normal(0.01), bias_init="zeros")

    def construct(self, x, kept=None):
        features = self.convs(x)
        if self.after_concat is not None:
            features = self.after_concat(ops.cat((x, features), 1))
        if kept is not None:
            features = features * kept.astype(features.dtype).expand_dims(-1).expand_dims(-1)
        return self.scores(features)


def channel_dropout(drawn, probability):
    """Dropout of whole channels (`Dropout2d`) from given numbers, so that a run that goes on drops the same ones.

    Args:
        drawn (Tensor): float32, uniform in [0, 1), of any shape.
        probability (float): Of a channel to be dropped.

    Returns:
        Tensor: What the channels are multiplied by: 0, or 1 / (1 - probability).
    """
    return (drawn >= probability).astype(ms.float32) / (1.0 - probability)


def resize_logits(logits, height, width, align_corners):
    """Bilinear, in float32: (N, C, h, w) to (N, C, height, width)."""
    resize = ops.ResizeBilinearV2(align_corners=align_corners, half_pixel_centers=not align_corners)
    return resize(logits.astype(ms.float32), (height, width))


def pixel_loss(logits, mask):
    """Cross-entropy averaged over all pixels; those that do not count add nothing, but are among the pixels.

    This is MMSegmentation's default (`avg_non_ignore=False`).

    Args:
        logits (Tensor): float32 (N, C, H, W).
        mask (Tensor): int32 (N, H, W), the classes; `IGNORED` does not count.

    Returns:
        Tensor: Scalar.
    """
    return ops.cross_entropy(logits, mask, ignore_index=IGNORED, reduction="sum") / mask.size


def pixel_accuracy(logits, mask):
    """Share of the pixels that count whose highest score is that of their class: a scalar in [0, 1]."""
    counts = (mask != IGNORED).astype(ms.float32)
    right = (ops.argmax(logits, 1).astype(ms.int32) == mask).astype(ms.float32)
    return ops.reduce_sum(right * counts) / ops.maximum(ops.reduce_sum(counts), 1.0)


class Heads(nn.Cell):
    """Holds the heads, so that their parameters are named `heads.decode...` and `heads.auxiliary...`."""

    def __init__(self, decode, auxiliary=None):
        super().__init__()
        self.decode = decode
        self.auxiliary = auxiliary
        self.names = ("decode", "auxiliary") if auxiliary is not None else ("decode",)


class Segmenter(nn.Cell):
    """A dilated backbone, the head that is scored, and an auxiliary head on the stage before that helps to train.

    The backbone's parameters are named `online.backbone...`, as in BYOL's checkpoints; the others `heads.decode...` and
    `heads.auxiliary...`.

    Args:
        backbone (Cell): Dilated already; see `dilation.dilate`.
        normalize (Cell): Applied to the images first.
        num_classes (int): Classes.
        settings (dict): Keys of `segmentation.task.NETWORK`.

    Inputs:
        images (Tensor): uint8 (N, 3, H, W).
        mask (Tensor): uint8 (N, H, W), the classes; `IGNORED` does not count.
        size (Tensor): float32 (N, 2), height and width of what is not padding.
        drawn (Tensor): float32 (N, D), uniform in [0, 1), for the dropout; see `dropped_channels`.

    Outputs:
        Tuple of the loss (scalar, to be differentiated), and the scalars to log, which `statistics` names.
    """

    def __init__(self, backbone, normalize, num_classes, settings):
        super().__init__()
        self.stages = Stages(backbone)
        self.normalize = normalize
        self.dropout = settings["head_dropout"]
        self.channels = settings["head_channels"]
        self.aux_weight = settings["aux_weight"]
        self.align_corners = settings["align_corners"]
        *_, before, last = backbone.map_channels
        of_head = (settings[key] for key in ("head_convs", "head_dilation", "head_concat"))
        decode = FCNHead(last, self.channels, num_classes, *of_head)
        auxiliary = FCNHead(before, settings["aux_channels"], num_classes, 1) if self.aux_weight else None
        self.heads = Heads(decode, auxiliary)
        losses = ("decode_loss", "auxiliary_loss") if self.aux_weight else ()
        self.statistics = (*losses, "pixel_accuracy")
        name_backbone(backbone)
        self.set_train()

    def construct(self, images, mask, size, drawn):
        height, width = mask.shape[1:]
        kept = channel_dropout(drawn, self.dropout)
        mask = mask.astype(ms.int32)
        maps = self.stages(self.normalize(images) * within(size, height, width))
        scores = self.heads.decode(maps[-1], kept[:, : self.channels])
        logits = resize_logits(scores, height, width, self.align_corners)
        loss = pixel_loss(logits, mask)
        accuracy = pixel_accuracy(logits, mask)
        if not self.aux_weight:
            return loss, (accuracy,)
        of_aux = self.heads.auxiliary(maps[-2], kept[:, self.channels :])
        auxiliary_loss = pixel_loss(resize_logits(of_aux, height, width, self.align_corners), mask)
        return loss + self.aux_weight * auxiliary_loss, (loss, auxiliary_loss, accuracy)

    def logits(self, images, size):
        """The scores of each class: images (N, 3, H, W) and their sizes (N, 2) to float32 (N, C, H, W)."""
        height, width = images.shape[2:]
        maps = self.stages(self.normalize(images) * within(size, height, width))
        return resize_logits(self.heads.decode(maps[-1]), height, width, self.align_corners)

    def half_precision_cells(self):
        """The cells that mixed precision may touch: never the loss."""
        return [(self, "stages"), *((self.heads, name) for name in self.heads.names)]


def dropped_channels(settings):
    """How many numbers an image's dropout takes: one for each channel before the scores of a head."""
    return settings["head_channels"] + (settings["aux_channels"] if settings["aux_weight"] else 0)
