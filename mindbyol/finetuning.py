"""Trains a backbone and a fresh classifier on labelled images; validate.py scores what comes out."""

import logging
from pathlib import Path

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
from mindbyol.config.keys import Changes, Group, Key, path
from mindbyol.config.labelled import AUGMENTATION, CLASSIFIER, VAL_WHILE_TRAIN
from mindbyol.config.values import COUNT, POSITIVE, number
from mindbyol.data.label_subset import subset_from_args, write_list
from mindbyol.evaluation import heads
from mindbyol.evaluation.heads import check_data, splits  # noqa: F401  (of a task that scores)
from mindbyol.training.batch_norm import synchronize

logger = logging.getLogger(__name__)

LABELS = Group(
    "Labels to train with",
    (
        Key("labels_per_class", None, COUNT, "only so many images of each class, drawn by seed"),
        Key("labels_fraction", None, number(float, 0, 1, above=0), "only this share of each class, drawn by seed"),
        Key(
            "train_list",
            None,
            path,
            "only the images that this file names, a line each, such as SimCLR's 1percent.txt",
            Changes.PATHS,
        ),
    ),
    "By default all of train_split. What is drawn is written to train_list.txt beside the checkpoints.",
)
WHOLE_NETWORK = Group(
    "Fine-tuning parameters",
    (
        Key(
            "frozen_stages",
            -1,
            number(int, -1, 4, why="-1 is none, 0 the stem, 4 the stem and all four stages"),
            "stem (0) and stages up to this one stay as they are, their batch norms' statistics, too",
        ),
        Key("head_lr_mult", 1.0, POSITIVE, "what the classifier's learning rate is multiplied by"),
        Key("label_smoothing", 0.0, number(float, 0, below=1), "share of each label that is spread over all classes"),
    ),
)

KEYS = (
    SYSTEM,
    DATASET,
    LABELS,
    IMAGES.with_defaults(interpolation="bilinear"),
    AUGMENTATION,
    BACKBONE,
    CLASSIFIER,
    WHOLE_NETWORK,
    OPTIMIZER.with_defaults(opt="sgd", use_nesterov=True, weight_decay=0.0, filter_bias_and_bn=False),
    SCHEDULER.with_defaults(base_lr=0.1, warmup_epochs=0.0),
    MIXED_PRECISION,
    RUN.with_defaults(epoch_size=50),
    EVALUATION,
    VAL_WHILE_TRAIN,
)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    check_recipe(recipe)
    chosen = [key for key in ("train_list", "labels_per_class", "labels_fraction") if recipe.values[key] is not None]
    if len(chosen) > 1:
        raise ValueError(f"{chosen[1]}: {chosen[0]} says already which images are trained on; drop one of the two")


class FineTuned(Classifier):
    """A classifier whose backbone is trained, but for the stages that are frozen; see `Classifier`.

    Args:
        backbone (Cell): See `backbones.create_backbone`.
        head (Cell): (N, F) features to (N, C) logits.
        normalize (Cell): Applied to the images first.
        frozen_stages (int): As in mmselfsup: -1 freezes nothing, 0 the stem, k the stem and the first k stages.
        label_smoothing (float): Of the cross-entropy.

    Raises:
        ValueError: The backbone has not as many stages, or they cannot be told.
    """

    frozen_cells = ()

    def __init__(self, backbone, head, normalize, frozen_stages=-1, label_smoothing=0.0):
        frozen_cells = backbone.cells_up_to(frozen_stages) if frozen_stages >= 0 else ()
        super().__init__(backbone, [head], normalize, label_smoothing=label_smoothing)
        self.frozen_cells = frozen_cells
        for cell in frozen_cells:
            for parameter in cell.get_parameters():
                parameter.requires_grad = False
        self.set_train()

    def set_train(self, mode=True):
        """Frozen stages stay in evaluation mode, so that their batch norms keep their statistics."""
        super().set_train(mode)
        for cell in self.frozen_cells:
            cell.set_train(False)
        return self


def run(recipe, subject, sources, tools):
    """Yields `top1`, `top5` and `mean_per_class` of a checkpoint's classifier, in percent."""

    def create_network(backbone, normalize, num_classes, names):
        return FineTuned(backbone, linear_head(backbone.num_features, num_classes), normalize)

    yield from heads.run(create_network, recipe, subject, sources["val"], tools)


class Training(ClassifierTraining):
    """What fine-tuning brings to the training loop; see `training.loop`."""

    def __init__(self, recipe, world):
        super().__init__(recipe, world)
        whole, self.source = self.source, subset_from_args(recipe, self.source)
        if self.source is not whole and not recipe.train_list and world.rank == 0:
            write_list(self.source, Path(recipe.ckpt_save_dir) / "train_list.txt")

    def build(self, plan, card=None):
        """See `training.loop`.

        Raises:
            ValueError: The weights to start from are of another stem than the recipe asks for.
        """
        step = super().build(plan, card)
        if "stem" in self.recipe.given and self.recipe.stem != self.backbone_card.stem:
            start = self.recipe.pretrained_from or self.recipe.ckpt_path
            raise ValueError(
                f"stem: {self.recipe.stem} asked for, but {start} was trained with {self.backbone_card.stem}: its "
                "weights do not fit; drop the key, or start from other weights"
            )
        return step

    def create_network(self, backbone, normalize):
        """The backbone and one linear classifier."""
        if self.world.ranks > 1 and self.recipe.sync_bn:
            synchronize(backbone, self.world.ranks)
        head = linear_head(backbone.num_features, self.num_classes)
        return FineTuned(backbone, head, normalize, self.recipe.frozen_stages, self.recipe.label_smoothing)

    def multiplier(self, name):
        """The classifier learns `head_lr_mult` times as fast."""
        return self.recipe.head_lr_mult if name.startswith("heads.") else 1.0

    def facts(self):
        """For the log, before the first step."""
        recipe = self.recipe
        start = recipe.pretrained_from or recipe.ckpt_path
        return {
            **super().facts(),
            "Starting from": start or "nothing",
            "Frozen stages": recipe.frozen_stages,
            "Classifier's learning rate": f"{recipe.head_lr_mult:g} times the others'",
            "Label smoothing": recipe.label_smoothing,
        }
