"""What tasks that train a classifier have in common: what they bring to the training loop, and to validate.py."""

import logging
from dataclasses import replace

import numpy as np

from mindbyol.backbones import create_backbone
from mindbyol.byol import Normalize
from mindbyol.classifier import Logits
from mindbyol.config.common import check_images, check_optimizer, warn_of_unused
from mindbyol.data import (
    LABELLED_FOLDERS,
    eval_transform_from_args,
    one_view_transform_from_args,
    source_from_args,
    train_loader_from_args,
)
from mindbyol.evaluation import feature_files
from mindbyol.evaluation.classification import best_of, evaluating, summary
from mindbyol.evaluation.heads import check_range
from mindbyol.evaluation.subjects import open_trained
from mindbyol.evaluation.tools import Tools
from mindbyol.model_card import Card
from mindbyol.next_command import scoring
from mindbyol.training.optimizer import create_loss_scale, create_optimizer
from mindbyol.training.overflows import WatchOverflows
from mindbyol.training.precision import set_precision
from mindbyol.training.step import TrainOneStep

logger = logging.getLogger(__name__)


def check_recipe(recipe):
    """Everything that can be wrong with the keys that such tasks share; a ValueError names the key."""
    if recipe.dataset == "folder":
        raise ValueError(f"dataset: folder has no labels to learn; {LABELLED_FOLDERS}")
    check_images(recipe)
    check_optimizer(recipe)
    eval_transform_from_args(recipe)
    one_view_transform_from_args(recipe)
    warn_of_unused(recipe)
    if recipe.baselines:
        raise ValueError("baselines: a classifier belongs to the backbone that it was trained on; leave the key out")


def check_labels(train, val, recipe):
    """Everything that can be wrong with labelled data.

    Args:
        train, val (Source): What is trained on and what is scored.
        recipe (Recipe): `num_classes` is how many there must be, None for as many as there are.

    Raises:
        ValueError: There are no labels, the classes are not the same or not as many as asked for, a label is none of
            them, or a class has no image to train on.
    """
    for source in (train, val):
        check_range(source)
    if train.class_names != val.class_names:
        raise ValueError(
            f"dataset: the classes of {train.description} and of {val.description} are not the same: equal numbers "
            "would not mean equal classes"
        )
    classes = len(train.class_names)
    if recipe.num_classes not in (None, classes):
        raise ValueError(f"num_classes: {recipe.num_classes} asked for, but {train.description} has {classes}")
    empty = np.flatnonzero(np.bincount(train.labels, minlength=classes) == 0)
    if len(empty):
        message = (
            f"dataset: {len(empty)} of {classes} classes have no image in {train.description}, the first is "
            f"'{train.class_names[empty[0]]}'"
        )
        if recipe.num_samples is None:
            raise ValueError(f"{message}: nothing can be learned of them; complete the data set or its list")
        logger.warning(f"{message}: num_samples is small")


class ClassifierTraining:
    """What a task that trains classifiers brings to the training loop; see `training.loop`.

    A task makes the network (`create_network`), and may choose rates by name (`multiplier`).

    Args:
        recipe (Recipe): Of such a task.
        world (World): Devices that train together.
    """

    def __init__(self, recipe, world):
        self.recipe = recipe
        self.world = world
        if recipe.features_dir:
            feature_files.check_folder(recipe.features_dir)
        self.tools = Tools(recipe, world)
        self.source = source_from_args(recipe, recipe.train_split, recipe.num_samples)
        self.val_source = source_from_args(recipe, recipe.val_split)
        check_labels(self.source, self.val_source, recipe)
        self.num_classes = len(self.source.class_names)
        self.chosen = None  # place of the best head, known from the first scores on

    def create_network(self, backbone, normalize):
        """The `Classifier` on a backbone.

        Args:
            backbone (Cell): See `backbones.create_backbone`.
            normalize (Cell): What the backbone wants done to pixels.
        """
        raise NotImplementedError

    def multiplier(self, name):
        """What the learning rate of a parameter is multiplied by."""
        return 1.0

    def build(self, plan, card=None):
        """See `training.loop`.

        Returns:
            TrainOneStep: Not yet compiled.
        """
        recipe = self.recipe
        backbone, self.backbone_card = _open_backbone(recipe, card)
        if card:
            self.chosen = card.more.get("chosen")
        self.network = self.create_network(backbone, Normalize(self.backbone_card.mean, self.backbone_card.std))
        set_precision(self.network, [(self.network, "backbone")], recipe.amp_level, recipe.amp_dtype)
        self.network.set_train()
        optimizer = create_optimizer(recipe, self.network, plan, self.multiplier)
        loss_scale = create_loss_scale(recipe)
        self.watchers = [WatchOverflows()] if loss_scale else []
        shown = {name: name.replace("_accuracy", "") + ": {:.1%}" for name in self.network.statistics}
        self.shown = {"loss": "loss: {:.4f}", "lr": "lr: {:.4g}", **shown}
        self.logits = Logits(self.network)
        return TrainOneStep(self.network, optimizer, None, plan.accumulation, loss_scale, self.world.ranks)

    def batches(self, plan, done):
        """See `data.PretrainLoader`."""
        return train_loader_from_args(
            self.recipe,
            self.source,
            one_view_transform_from_args(self.recipe),
            self.world.rank,
            self.world.ranks,
            plan.steps_per_epoch * plan.accumulation,
            done * plan.accumulation,
        )

    def inputs(self, batch):
        """What the step takes of a batch: images and labels."""
        return batch

    def validate(self):
        """Scores the network as it is: see `evaluation.classification.summary`."""
        with evaluating(self.network):
            found = self.score()
        self.chosen = best_of(found.scores)
        return summary(self.network.names, found.scores, self.chosen)

    def score(self):
        """The scores of each head on `val_source`: a `Found`."""
        return self.tools.classify(self.logits, self.val_source)

    def facts(self):
        """For the log, before the first step."""
        card, network = self.backbone_card, self.network
        backbone = sum(p.size for p in network.backbone.get_parameters())
        trained = sum(p.size for p in network.trainable_params())
        return {
            "Number of classes": self.num_classes,
            "Validation data": self.val_source.description,
            "Model": f"{card.model}, stem {card.stem}, padding {card.padding}, {self.recipe.image_resize} px",
            "Model parameters": f"{backbone} in the backbone, {trained} trained",
        }

    def card(self):
        """What the network of a checkpoint is; `heads` are the names of the heads, `chosen` the place of the best."""
        more = {"heads": list(self.network.names)}
        if self.chosen is not None:
            more["chosen"] = self.chosen
        return replace(self.backbone_card, more=more)

    def exports(self, arrays):
        """Nothing is written beside a checkpoint."""
        return {}

    def next_command(self, path):
        """Scores the classifier."""
        return scoring(self.recipe, path())


def _open_backbone(recipe, card):
    """The backbone that a run starts with, and its card: from the weights that the recipe names, or from nothing.

    Of a run that goes on, `card` is that of its checkpoint: the network is built, and the weights come later.
    """
    if recipe.ckpt_path and recipe.pretrained_from:  # not in `check`: validate.py has a ckpt_path of its own
        raise ValueError("pretrained_from: ckpt_path names weights to start from already; drop one of the two")
    path = recipe.pretrained_from or recipe.ckpt_path
    if card is None and path:
        start = open_trained(recipe, path)
        if start.card.model != recipe.model:  # by which the run's checkpoints are called
            raise ValueError(f"model: {path} is a checkpoint of {start.card.model}; set --model {start.card.model}")
        backbone, card = start.backbone, replace(start.card, mean=list(start.mean), std=list(start.std))
    else:
        if card is None:
            card = Card(**{key: recipe.plain()[key] for key in ("model", "stem", "stages", "padding", "mean", "std")})
        backbone = create_backbone(card.model, card.stem, card.padding, recipe.image_resize, card.stages)
    keys = ("model", "stem", "stages", "padding", "mean", "std")
    seen = {"image_resize": recipe.image_resize, "background": recipe.background}
    return backbone, Card(**seen, **{key: getattr(card, key) for key in keys})
