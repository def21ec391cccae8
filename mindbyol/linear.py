"""Scores a frozen backbone by a linear classifier on its pooled features: train.py trains it, validate.py scores it."""

import logging

import numpy as np

from mindbyol import checkpoint
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
from mindbyol.config.values import POSITIVE, boolean, number
from mindbyol.data import loader_settings_from_args
from mindbyol.data.image_files import Subset
from mindbyol.data.listed_images import some
from mindbyol.data.rows import TrainRows
from mindbyol.evaluation import heads
from mindbyol.evaluation.heads import check_data, splits  # noqa: F401  (of a task that scores)
from mindbyol.evaluation.subjects import Scored

logger = logging.getLogger(__name__)

LINEAR = Group(
    "Linear evaluation parameters",
    (
        Key(
            "lr_factors",
            (1.0,),
            POSITIVE,
            "a classifier for each, which learns at so many times the rate; all are trained in one pass",
            nargs="+",
        ),
        Key(
            "holdout",
            0,
            number(int, 0, 2**31 - 1),
            "training images that are not trained on, but choose the best classifier, evenly spaced over the split; 0: "
            "val_split chooses",
        ),
        Key(
            "cache_features",
            False,
            boolean,
            "compute the features of all images once, without augmentation: for quick looks",
        ),
    ),
)

KEYS = (
    SYSTEM,
    DATASET,
    IMAGES.with_defaults(interpolation="bilinear"),
    AUGMENTATION,
    BACKBONE,
    CLASSIFIER,
    LINEAR,
    OPTIMIZER.with_defaults(weight_decay=0.0, filter_bias_and_bn=False, lars_rule="mmcv"),
    SCHEDULER.with_defaults(base_lr=0.1, warmup_epochs=0.0, lr_epoch_stair=True),
    MIXED_PRECISION,
    RUN.without("sync_bn").with_defaults(epoch_size=90),
    EVALUATION,
    VAL_WHILE_TRAIN,
)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    check_recipe(recipe)
    if len(set(recipe.lr_factors)) < len(recipe.lr_factors):
        raise ValueError(
            f"lr_factors: {' '.join(map(str, recipe.lr_factors))} has a number twice; each is a classifier"
        )
    augmentation = {key.name for key in AUGMENTATION.keys} & recipe.given
    if recipe.cache_features and augmentation:
        logger.warning(f"cache_features: {', '.join(sorted(augmentation))} are not used: features are of plain images")


def create_network(backbone, normalize, num_classes, names, cached=False):
    """Linear classifiers on a frozen backbone.

    Args:
        backbone (Cell): See `backbones.create_backbone`.
        normalize (Cell): What the backbone wants done to pixels.
        num_classes (int): Of each classifier.
        names (sequence[str]): Of the classifiers.
        cached (bool): See `Classifier`.
    """
    classifiers = [linear_head(backbone.num_features, num_classes) for _ in names]
    return Classifier(backbone, classifiers, normalize, names, frozen=True, cached=cached)


def run(recipe, subject, sources, tools):
    """Yields `top1`, `top5` and `mean_per_class` of the classifier that training chose, then those of each."""
    yield from heads.run(create_network, recipe, subject, sources["val"], tools)


class Training(ClassifierTraining):
    """What linear evaluation brings to the training loop; see `training.loop`."""

    def __init__(self, recipe, world):
        super().__init__(recipe, world)
        if recipe.holdout:
            self.source, self.val_source = _held_out(self.source, recipe.holdout)
        elif len(recipe.lr_factors) > 1:
            logger.warning(f"holdout: is 0, so {recipe.val_split} chooses the best classifier, and is no test of it")

    def build(self, plan, card=None):
        """See `training.loop`."""
        if not (card or self.recipe.ckpt_path or self.recipe.pretrained_from):
            raise ValueError("ckpt_path: which backbone is to be scored? Name its weights, of any known project")
        self.rates = [plan.peak_lr * factor for factor in self.recipe.lr_factors]
        return super().build(plan, card)

    def create_network(self, backbone, normalize):
        """See `create_network`; several heads are called by their rates."""
        names = [f"lr{rate:g}" for rate in self.rates] if len(self.rates) > 1 else [""]
        return create_network(backbone, normalize, self.num_classes, names, self.recipe.cache_features)

    def multiplier(self, name):
        """Of `heads.2.weight`, the third of the factors."""
        return self.recipe.lr_factors[int(name.split(".")[1])]

    def batches(self, plan, done):
        """See `training.loop`."""
        if not self.recipe.cache_features:
            return super().batches(plan, done)
        features, labels = self._features(self.source)
        settings = loader_settings_from_args(self.recipe, self.world.rank, self.world.ranks)
        batches, accumulation = plan.steps_per_epoch * plan.accumulation, plan.accumulation
        return TrainRows(features, labels, settings, plan.epochs, batches, done * accumulation)

    def score(self):
        """See `ClassifierTraining`."""
        if not self.recipe.cache_features:
            return super().score()
        return self.tools.classify_rows(self.logits, *self._features(self.val_source))

    def _features(self, source):
        """Of the backbone as it is now, computed when they are asked for the first time."""
        if self._scored is None:
            backbone, card = self.network.backbone, self.backbone_card
            digest = checkpoint.digest({place: p.asnumpy() for place, p in backbone.parameters_and_names()})
            self._scored = Scored("trained", backbone, card.mean, card.std, digest, card)
        return self.tools.features(self._scored, source)

    _scored = None


def _held_out(source, count):
    """What is left of a source, and the images that are held out."""
    if count >= len(source):
        raise ValueError(f"holdout: {count} of {source.description} leave nothing to train on; lower it")
    chosen = np.arange(count, dtype=np.int64) * len(source) // count
    left = Subset(source, np.setdiff1d(np.arange(len(source)), chosen))
    classes = len(source.class_names)
    lost = np.flatnonzero(
        (np.bincount(left.labels, minlength=classes) == 0) & (np.bincount(source.labels, minlength=classes) > 0)
    )
    if len(lost):
        raise ValueError(
            f"holdout: {count} of {source.description} leave {len(lost)} of {classes} classes no image to train on: "
            f"{some([source.class_names[label] for label in lost])}; lower it"
        )
    return left, Subset(source, chosen)
