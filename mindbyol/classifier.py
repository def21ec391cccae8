"""Classifiers on a backbone: the loss of one or several heads, and their logits."""

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import Normal


def linear_head(in_features, num_classes):
    """A linear classifier as mmselfsup initialises it: normal with sigma 0.01, bias 0."""
    return nn.Dense(in_features, num_classes, weight_init=Normal(0.01), bias_init="zeros")


class Classifier(nn.Cell):
    """The loss of one or several classifiers on one backbone.

    The backbone's parameters are named `online.backbone...`, as in BYOL's checkpoints, so that whatever reads a
    backbone from those also reads it from a classifier's; the others are named `heads.0...`, `heads.1...`.

    Args:
        backbone (Cell): See `backbones.create_backbone`.
        heads (sequence[Cell]): (N, F) features to (N, C) logits.
        normalize (Cell): Applied to the images first.
        names (sequence[str]): What to call the heads in the log; one head needs no name.
        frozen (bool): The backbone stays as it is: evaluation mode, no gradients.
        label_smoothing (float): Of the cross-entropy.
        cached (bool): The inputs are features of a frozen backbone that were computed before, not images.

    Attributes:
        names (tuple[str]): Of the heads.

    Inputs:
        images (Tensor): What `normalize` takes.
        label (Tensor): (N,), int32.

    Outputs:
        Tuple of the loss, the sum over the heads (scalar, to be differentiated), and the scalars to log: the accuracy
        of each head in [0, 1], named in `statistics`.
    """

    def __init__(self, backbone, heads, normalize, names=("",), frozen=False, label_smoothing=0.0, cached=False):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.CellList(heads)
        self.normalize = normalize
        self.names = tuple(names)
        self.statistics = tuple(f"{name}_accuracy".lstrip("_") for name in names)
        self.frozen = frozen
        self.label_smoothing = label_smoothing
        self.cached = cached
        for place, parameter in backbone.parameters_and_names():
            parameter.name = f"online.backbone.{place}"
            if frozen:
                parameter.requires_grad = False
        self.set_train()

    def set_train(self, mode=True):
        """A frozen backbone stays in evaluation mode."""
        super().set_train(mode)
        if self.frozen:
            self.backbone.set_train(False)
        return self

    def construct(self, images, label):
        loss, accuracies = 0.0, ()
        for logits in self.logits(images):
            loss = loss + ops.cross_entropy(logits, label, label_smoothing=self.label_smoothing)
            accuracies += (ops.reduce_mean((ops.argmax(logits, -1) == label).astype(ms.float32)),)
        return loss, accuracies

    def logits(self, images):
        """Images to the logits of each head: float32, (N, C)."""
        found = ()
        for head, features in zip(self.heads, self.features(images)):
            found += (head(features).astype(ms.float32),)
        return found

    def features(self, images):
        """What each head takes of the backbone."""
        if self.cached:
            return (images,) * len(self.heads)
        pooled = self.backbone(self.normalize(images)).astype(ms.float32)
        if self.frozen:
            pooled = ops.stop_gradient(pooled)
        return (pooled,) * len(self.heads)


class Logits(nn.Cell):
    """`Classifier.logits` as a graph of its own."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, images):
        return self.network.logits(images)
