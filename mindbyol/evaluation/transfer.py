"""Scores frozen features on other data by logistic regression: the BYOL paper's linear transfer (appendix D.2)."""

import itertools
import logging

import numpy as np

from mindbyol.config.common import BACKBONE, DATASET, EVALUATION, IMAGES, SYSTEM, check_images
from mindbyol.config.keys import Group, Key, path
from mindbyol.config.values import COUNT, POSITIVE, number
from mindbyol.data import eval_transform_from_args
from mindbyol.data.keyed_random import permutation
from mindbyol.data.listed_images import some
from mindbyol.evaluation.logistic import LogisticPath
from mindbyol.evaluation.metrics import mean_average_precision_11_point, mean_per_class, top1

logger = logging.getLogger(__name__)

# What of the paper's table 10 a data set is scored by. The last one is for images with several classes each.
METRICS = {"top1": top1, "mean_per_class": mean_per_class, "map_11_point": mean_average_precision_11_point}

KEYS = (
    SYSTEM,
    DATASET,
    IMAGES,
    BACKBONE,
    EVALUATION,
    Group(
        "Transfer parameters",
        (
            Key("metric", "top1", str, "what is scored, and what chooses the l2 penalty", choices=tuple(METRICS)),
            Key("select_split", None, path, "split that chooses the penalty; by default held_out images do"),
            Key("held_out", 10, COUNT, "images of each class of train_split that choose it, without a select_split"),
            Key("l2_range", (1e-6, 1e5), POSITIVE, "smallest and largest penalty; see evaluation/logistic.py", nargs=2),
            Key("l2_count", 45, number(int, 2, 1000), "penalties between them, evenly spaced by their logarithms"),
        ),
    ),
)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    check_images(recipe)
    eval_transform_from_args(recipe)
    smallest, largest = recipe.l2_range
    if smallest >= largest:
        raise ValueError(f"l2_range: {smallest:g} is not below {largest:g}; give the smallest penalty first")


_KEYS = {"train": "train_split", "select": "select_split", "test": "val_split"}


def splits(recipe):
    """What is fitted, what chooses the penalty if that is a split of its own, and what is scored."""
    select = {} if recipe.select_split is None else {"select": recipe.select_split}
    return {"train": recipe.train_split, **select, "test": recipe.val_split}


def check_data(recipe, sources):
    """Everything that can be wrong between the recipe and the data.

    Args:
        recipe (Recipe): Of the task `transfer`.
        sources (dict[str, Source]): By their role; see `splits`.

    Raises:
        ValueError: There are no labels, they are not the metric's kind, a class has too few images, or two splits are
            the same images.
    """
    train = sources["train"]
    for (role, source), (other, same) in itertools.combinations(sources.items(), 2):
        if source.description.endswith(same.description):  # a split may have two names
            raise ValueError(
                f"{_KEYS[role]}: {source.description} are the images of {_KEYS[other]}, too; what is fitted, what "
                "chooses the penalty and what is scored must be different images"
            )
    for source in sources.values():
        if source.labels is None:
            raise ValueError(f"dataset: {source.description}: no labels to score with")
        if source.class_names != train.class_names:
            raise ValueError(
                f"dataset: the classes of {train.description} and of {source.description} are not the same"
            )
        several = np.ndim(source.labels) > 1
        if several != (recipe.metric == "map_11_point"):
            kind = "several classes an image: set it to map_11_point" if several else "one class an image"
            raise ValueError(f"metric: {recipe.metric} is not for {source.description}, which has {kind}")
        if several and "select" not in sources:
            raise ValueError(
                f"select_split: {source.description}: images with several classes are not held out; name the split "
                "that chooses the penalty"
            )
        held_out = recipe.held_out if source is train and "select" not in sources else 0
        _check_classes(source, held_out)


def _check_classes(source, held_out):
    """Every class has an image, and one to train on beside those that are held out."""
    labels, classes = source.labels, len(source.class_names)
    images = np.bincount(labels, minlength=classes) if np.ndim(labels) == 1 else (labels > 0).sum(0)
    few = [f"{source.class_names[label]} ({images[label]})" for label in np.flatnonzero(images <= held_out)]
    if few and held_out:
        raise ValueError(
            f"held_out: {held_out} images of each class are held out, and {len(few)} classes of {source.description} "
            f"have no more: {some(few)}; lower it"
        )
    if few:
        raise ValueError(
            f"dataset: {len(few)} classes of {source.description} have no image: {some(few)}; complete the images, or "
            "take the classes out of the list"
        )


def run(recipe, subject, sources, tools):
    """Yields the score of the test images, that of the images that chose the penalty, and the penalty's log10.

    The first rank fits: a path is followed one penalty after the other.
    """
    train, labels = tools.features(subject, sources["train"])
    if "select" in sources:
        select, select_labels = tools.features(subject, sources["select"])
    else:
        held_out = hold_out(labels, recipe.held_out, recipe.seed)
        select, select_labels = train[held_out], labels[held_out]
        train, labels = train[~held_out], labels[~held_out]
    test, test_labels = tools.features(subject, sources["test"])
    metric, classes = METRICS[recipe.metric], len(sources["train"].class_names)

    def fit():
        penalties = np.geomspace(*recipe.l2_range[::-1], recipe.l2_count)
        l2, selected = choose_penalty(train, labels, select, select_labels, classes, penalties, metric)
        both = LogisticPath(np.concatenate([train, select]), np.concatenate([labels, select_labels]), classes).fit(l2)
        return metric(both.scores(test), test_labels), selected, np.log10(l2)

    score, selected, log10_l2 = tools.on_first_rank(fit, 3)
    yield f"transfer_{recipe.metric}", score
    yield f"transfer_{recipe.metric}_select", selected
    yield "transfer_log10_l2", log10_l2


def hold_out(labels, count, seed):
    """Takes random images of each class.

    Args:
        labels (ndarray): (N,), the class of each image.
        count (int): Images of each class.
        seed (int): With the class, decides which.

    Returns:
        ndarray: (N,) bool, true for those that are taken.
    """
    taken = np.zeros(len(labels), bool)
    for label in range(labels.max() + 1):
        of_class = np.flatnonzero(labels == label)
        taken[of_class[permutation(seed, label, len(of_class))[:count]]] = True
    return taken


def choose_penalty(train, labels, select, select_labels, classes, penalties, metric):
    """Fits one penalty after the other, each from the minimum of the last.

    Args:
        train, select (ndarray): (N, F) and (M, F), float32.
        labels, select_labels (ndarray): See `LogisticPath`.
        classes (int): How many there are.
        penalties (sequence[float]): The largest first.
        metric (Callable): One of `METRICS`.

    Returns:
        tuple[float, float]: The penalty with the best score of `select`, of equal ones the largest, and that score.
    """
    regression, found = LogisticPath(train, labels, classes), []
    for l2 in penalties:
        found.append(metric(regression.fit(l2).scores(select), select_labels))
        end = "" if regression.converged_ else ", not at the minimum"
        logger.info(f"l2 {l2:9.3g}: {found[-1]:6.2f} on {len(select)} images, {regression.n_iter_} steps{end}")
    best = int(np.argmax(found))
    if best in (0, len(found) - 1):
        logger.warning(
            f"l2_range: the best penalty, {penalties[best]:g}, lies at its end; a wider range may score more"
        )
    return penalties[best], found[best]
