"""Compares frozen features where they differ most: neighbours of changed queries, and classifiers of few labels.

Three questions to each kind of features: are the nearest neighbours of a query of its class (weighted kNN, as in task
knn)? Are they still, when the query is cropped and its brightness changed? And how good is logistic regression on so
many labels a class?
"""

import logging

import numpy as np

from mindbyol.config.keys import Group, Key
from mindbyol.config.values import COUNT, FRACTION, POSITIVE, number
from mindbyol.data.label_subset import stratified
from mindbyol.data.one_view import OneViewTransform
from mindbyol.data.view_recipe import view_recipes
from mindbyol.evaluation import knn
from mindbyol.evaluation.logistic import LogisticPath
from mindbyol.evaluation.metrics import top1

logger = logging.getLogger(__name__)

KEYS = (
    *knn.KEYS[:-1],
    knn.KEYS[-1].with_defaults(knn_k=(20,)),
    Group(
        "Comparison parameters",
        (
            Key("few_labels", (1, 2, 5, 10, 20), COUNT, "labels a class; each number is scored", nargs="+"),
            Key("few_labels_draws", 10, number(int, 2, 1000), "how often they are drawn; the scores are averaged"),
            Key("few_labels_l2", 1.0, POSITIVE, "l2 penalty of the logistic regression; see evaluation/logistic.py"),
            Key(
                "changed_scale",
                (0.55, 0.9),
                number(float, 0, 1, above=0),
                "share of the area that changed queries are cropped to: smallest and largest",
                nargs=2,
            ),
            Key("changed_brightness", 0.2, FRACTION, "largest change of their brightness, a share of white"),
        ),
    ),
)
splits = knn.splits


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    knn.check(recipe)
    if recipe.changed_scale[0] > recipe.changed_scale[1]:
        smallest, largest = recipe.changed_scale
        raise ValueError(f"changed_scale: {smallest:g} is above {largest:g}; write the smaller number first")


def check_data(recipe, sources):
    """Everything that can be wrong between the recipe and the data; see `knn.check_data`."""
    knn.check_data(recipe, sources)
    counts = possible_counts(recipe, sources["bank"])
    if not counts:
        raise ValueError(
            f"few_labels: {min(recipe.few_labels)} labels a class asked for, and a class of "
            f"{sources['bank'].description} has fewer images"
        )
    if len(counts) < len(set(recipe.few_labels)):
        logger.warning(f"few_labels: a class has too few images for more, so only {counts} labels a class are scored")


def possible_counts(recipe, bank):
    """The numbers of labels that every class has, in ascending order."""
    least = np.bincount(bank.labels, minlength=len(bank.class_names)).min()
    return sorted(count for count in set(recipe.few_labels) if count <= least)


def run(recipe, subject, sources, tools):
    """Yields `knn{k}_...`, `changed_knn{k}_...`, `few_labels{n}_top1` and its spread `..._std`, in percent."""
    bank = tools.features(subject, sources["bank"])
    queries = tools.features(subject, sources["queries"])
    yield from knn.vote(recipe, tools, bank, queries)
    changed = tools.features(subject, sources["queries"], changed_query(recipe))
    for name, value in knn.vote(recipe, tools, bank, changed):
        yield f"changed_{name}", value
    counts = possible_counts(recipe, sources["bank"])

    def fit():
        return few_label_scores(*bank, *queries, counts, recipe.few_labels_draws, recipe.few_labels_l2, recipe.seed)

    numbers = tools.on_first_rank(fit, len(counts) * recipe.few_labels_draws).reshape(len(counts), -1)
    for count, of_draws in zip(counts, numbers):
        yield f"few_labels{count}_top1", float(of_draws.mean())
        yield f"few_labels{count}_std", float(of_draws.std(ddof=1))


def changed_query(recipe):
    """What becomes of a changed query: a crop of its own place and size, lighter or darker than it was.

    The same for all features that are compared: what is drawn depends on the seed and the image alone.
    """
    strengths = (recipe.changed_brightness, 0.0, 0.0, 0.0)
    return OneViewTransform(
        recipe.image_resize,
        recipe.interpolation,
        "deepmind",
        scale=recipe.changed_scale,
        ratio=(1.0, 1.0),
        hflip=0.0,
        color_jitter=strengths,
        color_jitter_prob=1.0,
    )


def within_training(recipe):
    """Whether BYOL saw such changes of brightness and crops in training: then it had to learn not to mind them.

    Returns:
        bool: None where the recipe does not say what the training was.
    """
    keys = ("scale", "color_jitter", "color_jitter_prob")
    if recipe.values.get("base_tau") is None or any(key not in recipe.values for key in keys):
        return None
    smallest, largest = recipe.changed_scale
    return any(
        view.scale[0] <= smallest
        and largest <= view.scale[1]
        and (view.color_jitter[0] >= recipe.changed_brightness and view.color_jitter_prob > 0)
        for view in view_recipes({key: recipe.values[key] for key in keys})
    )


def few_label_scores(bank, bank_labels, queries, labels, counts, draws, l2, seed):
    """Top-1 of logistic regression on some labelled images a class, drawn again and again.

    Features are standardised over the whole bank, which needs no labels. The images of fewer labels are among those of
    more of the same draw.

    Args:
        bank, queries (ndarray): (N, F) and (M, F), float.
        bank_labels, labels (ndarray): (N,) and (M,), whole numbers from 0.
        counts (list[int]): Labels a class.
        draws (int): How often they are drawn.
        l2 (float): Penalty; see `logistic.LogisticPath`.
        seed (int): With the number of a draw, decides it.

    Returns:
        ndarray: (len(counts) * draws,) in percent, the draws of a count next to each other.
    """
    mean = bank.mean(0, dtype=np.float64).astype(bank.dtype)
    std = bank.std(0, dtype=np.float64).astype(bank.dtype)
    std[std == 0] = 1
    queries = (queries - mean) / std
    classes = int(bank_labels.max()) + 1
    found = []
    for count in counts:
        for draw in range(draws):
            chosen = stratified(bank_labels, seed * 1000 + draw, per_class=count)
            inputs, targets = (bank[chosen] - mean) / std, queries
            if len(inputs) < inputs.shape[1]:
                # The weights lie in the space of the few inputs: there the fit is the same, and small
                basis = np.linalg.qr(inputs.T)[0]
                inputs, targets = inputs @ basis, queries @ basis
            fitted = LogisticPath(inputs, bank_labels[chosen], classes).fit(l2)
            found.append(top1(fitted.scores(targets), labels))
    return np.array(found)
