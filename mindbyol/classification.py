"""What tasks that train a classifier have in common: what they bring to the training loop, and to validate.py."""

import logging
from dataclasses import replace

import numpy as np

from mindbyol.classifier import Logits
from mindbyol.config.common import check_images, check_optimizer, warn_of_unused
from mindbyol.data import LABELLED_FOLDERS, eval_transform_from_args, one_view_transform_from_args, source_from_args
from mindbyol.evaluation import feature_files
from mindbyol.evaluation.classification import best_of, evaluating, summary
from mindbyol.evaluation.heads import check_range
from mindbyol.supervised import SupervisedTraining

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


class ClassifierTraining(SupervisedTraining):
    """What a task that trains classifiers brings to the training loop; see `training.loop`.

    A task makes the network (`create_network`), a `Classifier`, and may choose rates by name (`multiplier`).

    Args:
        recipe (Recipe): Of such a task.
        world (World): Devices that train together.
    """

    def __init__(self, recipe, world):
        if recipe.features_dir:
            feature_files.check_folder(recipe.features_dir)
        super().__init__(recipe, world)
        self.val_source = source_from_args(recipe, recipe.val_split)
        check_labels(self.source, self.val_source, recipe)
        self.num_classes = len(self.source.class_names)
        self.chosen = None  # place of the best head, known from the first scores on

    def build(self, plan, card=None):
        """See `training.loop`.

        Returns:
            TrainOneStep: Not yet compiled.
        """
        step = super().build(plan, card)
        if card:
            self.chosen = card.more.get("chosen")
        self.logits = Logits(self.network)
        return step

    def transform(self):
        """See `one_view.OneViewTransform`."""
        return one_view_transform_from_args(self.recipe)

    def formats(self):
        """Accuracies, in percent."""
        return {name: name.replace("_accuracy", "") + ": {:.1%}" for name in self.network.statistics}

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
        return {
            "Number of classes": self.num_classes,
            "Validation data": self.val_source.description,
            **super().facts(),
        }

    def card(self):
        """What the network of a checkpoint is; `heads` are the names of the heads, `chosen` the place of the best."""
        more = {"heads": list(self.network.names)}
        if self.chosen is not None:
            more["chosen"] = self.chosen
        return replace(self.backbone_card, more=more)
