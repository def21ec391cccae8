"""Scores each stage of a frozen backbone by a linear classifier: train.py trains them all, validate.py scores them."""

from mindspore import nn, ops

from mindbyol.classification import ClassifierTraining, check_recipe
from mindbyol.classifier import Classifier, linear_head
from mindbyol.config.common import (
    BACKBONE,
    DATASET,
    EVALUATION,
    IMAGES,
    MIXED_PRECISION,
    OPTIMIZER,
    RUN,
    SCHEDULER,
    SYSTEM,
)
from mindbyol.config.keys import Group, Key
from mindbyol.config.labelled import AUGMENTATION, CLASSIFIER, VAL_WHILE_TRAIN
from mindbyol.evaluation import heads
from mindbyol.evaluation.heads import check_data, splits  # noqa: F401  (of a task that scores)
from mindbyol.evaluation.stage_pooling import WINDOWS, StagePooling, layers_of
from mindbyol.training.batch_norm import synchronize

KEYS = (
    SYSTEM,
    DATASET,
    IMAGES.with_defaults(interpolation="bilinear"),
    AUGMENTATION,
    BACKBONE,
    CLASSIFIER,
    Group(
        "Multi-head parameters",
        (
            Key(
                "layers",
                None,
                str,
                "what is scored: feature1 is of the stem, the others of the stages; by default all that there are",
                choices=tuple(WINDOWS),
                nargs="+",
            ),
        ),
    ),
    OPTIMIZER.with_defaults(opt="sgd", use_nesterov=True, weight_decay=1e-4, filter_bias_and_bn=False),
    SCHEDULER.with_defaults(scheduler="multi_step_decay", base_lr=0.01, warmup_epochs=0.0),
    MIXED_PRECISION,
    RUN.with_defaults(epoch_size=90),
    EVALUATION,
    VAL_WHILE_TRAIN,
)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    check_recipe(recipe)
    if recipe.amp_level in ("O2", "O3"):
        raise ValueError(f"amp_level: {recipe.amp_level} hides the stages of the backbone; use O1, or O0")


class StageHead(nn.Cell):
    """Batch norm over channels without scale and offset, then a linear classifier.

    Args:
        shape (tuple[int]): (C, h, w) of the pooled map.
        num_classes (int): Classes.

    Inputs:
        Tensor (N, C, h, w).

    Outputs:
        Tensor (N, num_classes).
    """

    def __init__(self, shape, num_classes):
        super().__init__()
        channels, height, width = shape
        self.bn = nn.BatchNorm2d(channels, affine=False)
        self.fc = linear_head(channels * height * width, num_classes)

    def construct(self, x):
        x = self.bn(x)
        return self.fc(x.reshape(x.shape[0], -1))


class StageClassifier(Classifier):
    """Classifiers on the pooled maps of a frozen backbone.

    The losses are added and no head sees another's features, so each learns as if it were alone.

    Args:
        backbone, normalize: See `Classifier`.
        num_classes (int): Of each head.
        layers (sequence[str]): See `StagePooling`.
    """

    def __init__(self, backbone, normalize, num_classes, layers=None):
        pooling = StagePooling(backbone, layers)
        classifiers = [StageHead(shape, num_classes) for shape in pooling.shapes]
        super().__init__(backbone, classifiers, normalize, pooling.layers, frozen=True)
        self.pooling = pooling

    def features(self, images):
        """See `Classifier`."""
        return ops.stop_gradient(self.pooling(self.backbone.maps(self.normalize(images))))


def check_subject(recipe, subject):
    """Has the backbone the layers that are asked for? If not, a ValueError names those that it has."""
    layers_of(subject.backbone, recipe.layers)


def create_network(backbone, normalize, num_classes, names):
    """Classifiers on the layers `names` of a frozen backbone; see `heads.run`."""
    return StageClassifier(backbone, normalize, num_classes, names)


def run(recipe, subject, sources, tools):
    """Yields `top1`, `top5` and `mean_per_class` of the best layer, then those of each: `feature1_top1`, ..."""
    yield from heads.run(create_network, recipe, subject, sources["val"], tools)


class Training(ClassifierTraining):
    """What the protocol brings to the training loop; see `training.loop`."""

    def build(self, plan, card=None):
        """See `training.loop`."""
        if not (card or self.recipe.ckpt_path or self.recipe.pretrained_from):
            raise ValueError("ckpt_path: which backbone is to be scored? Name its weights, of any known project")
        return super().build(plan, card)

    def create_network(self, backbone, normalize):
        """See `StageClassifier`; the heads' batch norms are synchronised where `sync_bn` says so."""
        network = StageClassifier(backbone, normalize, self.num_classes, self.recipe.layers)
        if self.world.ranks > 1 and self.recipe.sync_bn:
            synchronize(network.heads, self.world.ranks)
        return network
