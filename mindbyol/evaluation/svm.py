"""Scores the stages of a frozen backbone by linear SVMs, one a class: mmselfsup's VOC07 SVM benchmark."""

import logging

import numpy as np

from mindbyol.evaluation import linear_svm, stage_svms
from mindbyol.evaluation.linear_svm import FOLDS, cross_validate, spread

logger = logging.getLogger(__name__)

KEYS = stage_svms.KEYS
check = stage_svms.check
splits = stage_svms.splits
check_subject = stage_svms.check_subject


def check_data(recipe, sources):
    """Everything that can be wrong between the recipe and the data; see `stage_svms.check_classes`."""
    stage_svms.check_classes(sources, FOLDS, lambda classes: FOLDS, "complete the images: each fold needs one")


def run(recipe, subject, sources, tools):
    """Yields `svm_{layer}_map` for each layer, in percent, and `svm_map`, the best of them."""

    def score(layer, classes):
        return score_classes(layer, classes, recipe.svm_costs, recipe.seed, tools.workers)

    best = None
    for layer, numbers in stage_svms.score_layers(recipe, subject, sources, tools, score, 2):
        mean = numbers[:, 0].mean()
        yield f"svm_{layer}_map", mean
        if best is None or mean > best[1]:
            best = layer, mean, numbers
    layer, mean, numbers = best
    yield "svm_map", mean
    names = sources["train"].class_names
    of_classes = ", ".join(f"{name} {ap:.2f} (C {cost:.6g})" for name, (ap, cost) in zip(names, numbers))
    logger.info(f"best layer: {layer}; average precision of each class: {of_classes}")


def score_classes(layer, classes, costs, seed, workers):
    """Chooses the cost of each class by cross-validation, fits to all training images and scores the test images.

    Images that do not count for a class are negatives in training, as the published scripts have it, and are left out
    of the test.

    Args:
        layer (Layer): See `stage_svms`.
        classes (list[int]): Which classes.
        costs (sequence[float]): Of those that are equally good, the first is taken.
        seed (int): Of the order in which LIBLINEAR visits images.
        workers (int): Processes. As many classes are in the making at a time.

    Yields:
        tuple[int, ndarray, int]: Class; its average precision in percent and its cost; SVMs that stopped early.
    """
    for first in range(0, len(classes), workers):
        some = classes[first : first + workers]
        tasks = [(layer.train, layer.train_labels[:, c], cost, seed) for c in some for cost in costs]
        validated = np.array(list(spread(cross_validate, tasks, workers))).reshape(len(some), len(costs), 2)
        chosen = [costs[index] for index in validated[..., 0].argmax(1)]
        tasks = [
            (layer.train, slice(None), layer.train_labels[:, c], [cost], seed, layer.test, layer.test_labels[:, c])
            for c, cost in zip(some, chosen)
        ]
        early = validated[..., 1].sum(1).astype(int)
        for c, cost, before, (precisions, stopped) in zip(
            some, chosen, early, spread(linear_svm.score, tasks, workers)
        ):
            yield c, np.array([*precisions, cost]), before + stopped
