"""Scores a frozen backbone by a linear classifier on its pooled features: train.py trains it, validate.py scores it."""

from mindbyol.classification import ClassifierTraining
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
    check_images,
    check_optimizer,
    warn_of_unused,
)
from mindbyol.config.labelled import AUGMENTATION, CLASSIFIER, VAL_WHILE_TRAIN
from mindbyol.data import eval_transform_from_args, one_view_transform_from_args

KEYS = (
    SYSTEM,
    DATASET,
    IMAGES.with_defaults(interpolation="bilinear"),
    AUGMENTATION,
    BACKBONE,
    CLASSIFIER,
    OPTIMIZER.with_defaults(weight_decay=0.0, filter_bias_and_bn=False, lars_rule="mmcv"),
    SCHEDULER.with_defaults(base_lr=0.1, warmup_epochs=0.0, lr_epoch_stair=True),
    MIXED_PRECISION,
    RUN.without("sync_bn").with_defaults(epoch_size=90),
    EVALUATION,
    VAL_WHILE_TRAIN,
)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    check_images(recipe)
    check_optimizer(recipe)
    eval_transform_from_args(recipe)
    one_view_transform_from_args(recipe)
    warn_of_unused(recipe)


class Training(ClassifierTraining):
    """What linear evaluation brings to the training loop; see `training.loop`."""

    def create_network(self, backbone, normalize):
        """One linear classifier on a frozen backbone."""
        return Classifier(backbone, [linear_head(backbone.num_features, self.num_classes)], normalize, frozen=True)
