"""Scores the stages of a frozen backbone by linear SVMs of few images a class: mmselfsup's VOC07 low-shot benchmark."""

import logging

import numpy as np

from mindbyol.config.keys import Group, Key
from mindbyol.config.values import COUNT
from mindbyol.evaluation import linear_svm, stage_svms
from mindbyol.evaluation.linear_svm import spread

logger = logging.getLogger(__name__)

KEYS = (
    *stage_svms.KEYS,
    Group(
        "Low-shot parameters",
        (
            Key("low_shot_k", (1, 2, 4, 8, 16, 32, 64, 96), COUNT, "images of a class to learn from", nargs="+"),
            Key("low_shot_samples", 5, COUNT, "how often they are drawn; the scores are averaged"),
        ),
    ),
)
check = stage_svms.check
splits = stage_svms.splits
check_subject = stage_svms.check_subject


def check_data(recipe, sources):
    """Everything that can be wrong between the recipe and the data; see `stage_svms.check_classes`."""
    largest = max(recipe.low_shot_k)
    stage_svms.check_classes(sources, largest, lambda classes: (classes - 1) * largest, "lower low_shot_k")


def run(recipe, subject, sources, tools):
    """Yields `low_shot_{layer}_k{k}_map` for each layer and k, in percent, and `..._std`, its spread over the samples.

    The same without a layer is of the one whose mean over all k is the best.
    """
    ks, samples, costs = sorted(set(recipe.low_shot_k)), recipe.low_shot_samples, recipe.svm_costs

    def score(layer, classes):
        return score_classes(layer, classes, ks, samples, costs, recipe.seed, tools.workers)

    best = None
    count = len(ks) * samples * len(costs)
    for layer, numbers in stage_svms.score_layers(recipe, subject, sources, tools, score, count):
        means, spreads, chosen = summarize(numbers.reshape(-1, len(ks), samples, len(costs)))
        logger.info(f"{layer}: costs {', '.join(f'{costs[c]:.6g} (k {k})' for k, c in zip(ks, chosen))}")
        yield from _scores(f"low_shot_{layer}", ks, means, spreads)
        if best is None or means.mean() > best[1].mean():
            best = layer, means, spreads
    logger.info(f"best layer: {best[0]}")
    yield from _scores("low_shot", ks, *best[1:])


def _scores(name, ks, means, spreads):
    for k, mean, spread_of_k in zip(ks, means, spreads):
        yield f"{name}_k{k}_map", mean
        yield f"{name}_k{k}_std", spread_of_k


def summarize(precisions):
    """The mean over the classes, at the cost that is best for all samples together.

    The published scripts choose the cost by the test images, too, so a score is an upper bound.

    Args:
        precisions (ndarray): (classes, ks, samples, costs) average precisions.

    Returns:
        tuple[ndarray, ndarray, ndarray]: Mean and standard deviation over the samples, and index of the cost, (ks,).
    """
    of_samples = precisions.mean(0)
    chosen = of_samples.mean(1).argmax(1)
    of_samples = np.take_along_axis(of_samples, chosen[:, None, None], 2)[..., 0]
    return of_samples.mean(1), of_samples.std(1), chosen


def draw(labels, classes, k, seed, c, sample):
    """Draws the images that an SVM is fitted to: k of a class, and k for each of the other classes that are not of it.

    Args:
        labels (ndarray): (N,): 1 of the class, 0 not, -1 does not count.
        classes (int): How many classes there are.
        k (int): Images of the class.
        seed, c, sample (int): Of the run, of the class and of the sample; with k, all that the choice depends on.

    Returns:
        ndarray: Indices, (k * classes,).
    """
    rng = np.random.default_rng((seed, c, k, sample))
    positives = rng.choice(np.flatnonzero(labels == 1), k, replace=False)
    negatives = rng.choice(np.flatnonzero(labels == 0), k * (classes - 1), replace=False)
    return np.concatenate([positives, negatives])


def score_classes(layer, classes, ks, samples, costs, seed, workers):
    """Fits an SVM of each cost to each sample of each size, and scores the test images that count.

    Args:
        layer (Layer): See `stage_svms`.
        classes (list[int]): Which classes.
        ks (sequence[int]): Images of the class to learn from.
        samples (int): How often they are drawn.
        costs (sequence[float]): All are scored.
        seed (int): Decides the draws and in which order LIBLINEAR visits images.
        workers (int): Processes.

    Yields:
        tuple[int, ndarray, int]: Class; its average precisions in percent, (ks * samples * costs,); SVMs that stopped
        early.
    """
    number = layer.train_labels.shape[1]

    def tasks():
        for c in classes:
            for k in ks:
                for sample in range(samples):
                    chosen = draw(layer.train_labels[:, c], number, k, seed, c, sample)
                    labels, test_labels = layer.train_labels[:, c], layer.test_labels[:, c]
                    yield layer.train, chosen, labels, costs, seed, layer.test, test_labels

    results = spread(linear_svm.score, tasks(), workers)
    for c in classes:
        found = [next(results) for _ in range(len(ks) * samples)]
        yield c, np.concatenate([precisions for precisions, _ in found]), sum(stopped for _, stopped in found)
