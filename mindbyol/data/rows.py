"""Batches of features that are in memory, in the order in which the loaders have the images."""

import math

import numpy as np

from mindbyol.data.batch import Batch
from mindbyol.data.loader import share, training_order


class TrainRows:
    """The batches of a whole run, as a `PretrainLoader` has them: nothing to wait for.

    Args:
        features (numpy.ndarray): (N, F), a row an image.
        labels (numpy.ndarray): (N,).
        settings (LoaderSettings): Batch size, seed and ranks.
        epochs, batches_per_epoch, start_batch (int): See `PretrainLoader`.
    """

    wait_seconds = 0.0

    def __init__(self, features, labels, settings, epochs, batches_per_epoch, start_batch=0):
        self._features = features
        self._labels = labels
        self._settings = settings
        self._batches_per_epoch = batches_per_epoch
        self._first, self._last = start_batch, epochs * batches_per_epoch

    def __len__(self):
        return max(0, self._last - self._first)

    def __iter__(self):
        """Yields features and labels."""
        order = training_order(len(self._labels), self._settings, self._batches_per_epoch, self._first, self._last)
        for _, indices in order:
            yield self._features[indices], self._labels[indices]


class EvalRows:
    """Every row once, as an `EvalLoader` has them, "features" in the place of "image".

    Args:
        features (numpy.ndarray): (N, F).
        labels (numpy.ndarray): (N,).
        settings (LoaderSettings): Batch size and ranks.
    """

    def __init__(self, features, labels, settings):
        self._features = features
        self._labels = labels
        self._settings = settings

    def __iter__(self):
        size, ranks = self._settings.batch_size, self._settings.ranks
        count = len(self._labels)
        mine = np.arange(count)[share(count, self._settings.rank, ranks)]
        for batch in range(math.ceil(math.ceil(count / ranks) / size)):
            indices = np.full(size, -1, np.int64)
            of_batch = mine[batch * size : (batch + 1) * size]
            indices[: len(of_batch)] = of_batch
            # Rows that do not count are those of the last image: they only fill the batch up.
            yield Batch({"features": self._features[indices]}, self._labels[indices], indices, indices >= 0)
