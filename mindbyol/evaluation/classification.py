"""Scores of a classifier: top-1, top-5, and the mean over classes, over all ranks and every image once."""

import contextlib
import time
from typing import NamedTuple, Optional

import numpy as np

from mindspore import Tensor

from mindbyol.checkpoint import NonFinite

TOP = (1, 5)


def count_hits(logits, labels):
    """How many images of each class there are, and of how many the class is among the first.

    Of equal logits the lower class comes first, as argmax has it.

    Args:
        logits (ndarray): (N, C), float.
        labels (ndarray): (N,), whole numbers from 0 to C - 1.

    Returns:
        ndarray: int64, (C, 1 + len(TOP)): images, then those whose class is among the first 1 and the first 5.

    Raises:
        NonFinite: Logits are NaN or infinite; they would be scored as if they were a guess.
    """
    if not np.isfinite(logits).all():
        raise NonFinite("the logits of some images are NaN or infinite, so there is no score: the weights are not good")
    own = np.take_along_axis(logits, labels[:, None], 1)
    lower_class = np.arange(logits.shape[1]) < labels[:, None]
    ahead = ((logits > own) | ((logits == own) & lower_class)).sum(1)
    table = np.zeros((logits.shape[1], 1 + len(TOP)), np.int64)
    np.add.at(table, labels, np.column_stack([np.ones_like(ahead), *(ahead < k for k in TOP)]))
    return table


def scores_of(table):
    """The scores of a table of `count_hits`.

    Args:
        table (ndarray): (C, 1 + len(TOP)), of all images.

    Returns:
        dict[str, float]: `top1`, `top5` and `mean_per_class`, the mean of the top-1 of each class that has images, in
        percent.
    """
    images, *hits = table.sum(0)
    there = table[:, 0] > 0
    scores = {f"top{k}": 100.0 * float(count) / float(images) for k, count in zip(TOP, hits)}
    return {**scores, "mean_per_class": 100.0 * float(np.mean(table[there, 1] / table[there, 0]))}


class Found(NamedTuple):
    """What scoring has found.

    Attributes:
        scores (list[dict[str, float]]): As of `scores_of`, of each classifier.
        images_per_second (float): Of all ranks, from the second batch on; the first has to be compiled. None where
            there is no second one.
    """

    scores: list
    images_per_second: Optional[float]


def score(logits_of, batches, gather):
    """Scores one or several classifiers in one pass over the images, each rank its share.

    Args:
        logits_of (Callable[[Tensor], tuple[Tensor]]): What the batches hold to logits, (B, C) of each.
        batches (iterable[Batch]): Of one array and labels, such as an EvalLoader; on all ranks as many.
        gather (Callable[[ndarray], ndarray]): See `runtime.Communicator.gather`.

    Returns:
        Found: The same on all ranks.

    Raises:
        NonFinite: See `count_hits`.
    """
    tables, images, started = 0, 0, None
    for batch in batches:
        (array,) = batch.arrays.values()
        labels = batch.labels[batch.counts]
        logits = [of_head.asnumpy()[batch.counts] for of_head in logits_of(Tensor(array))]
        tables = tables + np.stack([count_hits(of_head, labels) for of_head in logits])
        if started is None:
            started = time.perf_counter()
        else:
            images += len(labels)
    rates = gather(np.array([images, time.perf_counter() - started], np.float32))
    tables = gather(tables.astype(np.float32)).astype(np.float64).sum(0)  # counts, exact in float32 below 2^24
    images, seconds = float(rates[:, 0].sum()), float(rates[:, 1].max())
    return Found([scores_of(table) for table in tables], images / seconds if images else None)


@contextlib.contextmanager
def evaluating(network):
    """Puts a network into evaluation mode for the block, and each of its cells back into the mode that it was in.

    Graphs that were compiled before stay as they are.

    Args:
        network (Cell): In whichever mode.
    """
    modes = [(cell, cell.training) for _, cell in network.cells_and_names()]
    network.set_train(False)
    try:
        yield
    finally:
        for cell, mode in modes:
            cell.add_flags(training=mode)


def best_of(found):
    """The place of the classifier with the highest top-1; of equal ones the first.

    Args:
        found (list[dict[str, float]]): As of `scores_of`.
    """
    return max(range(len(found)), key=lambda head: found[head]["top1"])


def summary(names, found, chosen):
    """The scores of several classifiers in one dict, those of the chosen one first.

    Args:
        names (sequence[str]): Of the classifiers.
        found (list[dict[str, float]]): As of `scores_of`.
        chosen (int): Place of the one whose scores are the result.

    Returns:
        dict[str, float]: `top1`, `top5` and `mean_per_class`; where there are several, also `NAME_top1`, ... of each.
    """
    scores = dict(found[chosen])
    if len(found) > 1:
        scores.update({f"{name}_{key}": value for name, of_head in zip(names, found) for key, value in of_head.items()})
    return scores
