"""Metrics of classification, in percent: top-1, mean per class, and the 11-point mean average precision of VOC 2007."""

import numpy as np

_POINTS = 11  # recall 0, 0.1, ..., 1


def top1(scores, labels):
    """Share of images whose class has the largest score.

    Args:
        scores (ndarray): (N, K).
        labels (ndarray): (N,), the class of each image.
    """
    return 100.0 * float((scores.argmax(1) == labels).mean())


def mean_per_class(scores, labels):
    """Top-1 of each class alone, averaged over the classes that have images.

    Args:
        scores (ndarray): (N, K).
        labels (ndarray): (N,), the class of each image.
    """
    right = scores.argmax(1) == labels
    images = np.bincount(labels)
    of_class = np.bincount(labels, weights=right)
    return 100.0 * float((of_class[images > 0] / images[images > 0]).mean())


def mean_average_precision_11_point(scores, labels):
    """`average_precision_11_point` averaged over the classes.

    Args:
        scores (ndarray): (N, K).
        labels (ndarray): (N, K): 1 it is there, 0 it is not, -1 it does not count.
    """
    return float(np.mean([average_precision_11_point(*pair) for pair in zip(scores.T, labels.T)]))


def average_precision_11_point(scores, labels):
    """The average precision of VOC 2007 (Everingham et al. 2010, section 4.2).

    Images are ranked by score, of equal scores the earlier image first. At each recall of 0, 0.1, ..., 1 the precision
    is the best one at this recall or a larger one; the result is the mean of these eleven.

    Args:
        scores (ndarray): (N,).
        labels (ndarray): (N,): 1 positive, 0 negative, -1 left out.

    Raises:
        ValueError: There is no positive.
    """
    counts = labels >= 0
    ranked = labels[counts][np.argsort(-scores[counts], kind="stable")] > 0
    positives = int(ranked.sum())
    if not positives:
        raise ValueError("an average precision needs a positive, and there is none")
    found = ranked.cumsum()
    precision = found / np.arange(1, len(ranked) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall is found / positives; compared in whole numbers, as 3 / 10 is not 0.1 + 0.1 + 0.1.
    reached = [np.argmax(found * (_POINTS - 1) >= point * positives) for point in range(_POINTS)]
    return 100.0 * float(best_from_here[reached].mean())
