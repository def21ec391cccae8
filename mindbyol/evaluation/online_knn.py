"""Scores a backbone by its nearest neighbours while it is trained, on a fixed part of the images."""

import numpy as np

from mindbyol import runtime
from mindbyol.checkpoint import NonFinite
from mindbyol.data import eval_loader_from_args, source_from_args
from mindbyol.data.sources import evenly_spaced
from mindbyol.evaluation.classification import evaluating
from mindbyol.evaluation.features import FeatureExtractor, extract, in_memory
from mindbyol.evaluation.knn import WeightedKNN, check_classes

K = 20  # Neighbours; the number that this project's tables have.


class OnlineKNN:
    """kNN of a backbone as it is now: images of `train_split` vote on images of `val_split`.

    Of each, at most `knn_samples` take part, evenly spaced over the split, so that scores of one run, and of runs with
    the same recipe, can be compared. They are preprocessed as for validate.py, whose protocol it is.

    Args:
        recipe (Recipe): The recipe.
        world (World): Devices that share the work.
        source (Source): What is trained on, with labels.

    Attributes:
        bank, queries (Source): The images that vote, and those voted on.

    Raises:
        ValueError, OSError: There are no labels to score with, or no `val_split`.
    """

    def __init__(self, recipe, world, source):
        check_classes(source, source)  # before val_split is looked for
        self.bank = _some(source, recipe.knn_samples)
        self.queries = _some(source_from_args(recipe, recipe.val_split), recipe.knn_samples)
        check_classes(self.bank, self.queries)
        self._recipe = recipe
        self._world = world
        self._communicator = runtime.Communicator(world)
        self._extractor = None

    def score(self, backbone):
        """All ranks must ask, always with the same backbone.

        Args:
            backbone (Cell): In whichever mode; afterwards it is in the same.

        Returns:
            dict[str, float]: The top-1 under its name, such as `knn20_top1`, in percent.

        Raises:
            NonFinite: Features are NaN or infinite.
        """
        with evaluating(backbone):
            if self._extractor is None:  # one graph for the whole run
                self._extractor = FeatureExtractor(backbone, self._recipe.mean, self._recipe.std)
            bank, bank_labels = self._features(self.bank)
            queries, labels = self._features(self.queries)
        knn = WeightedKNN((min(K, len(bank)),), self._recipe.knn_temperature).fit(bank, bank_labels)
        return {name: score for name, score in knn.score(queries, labels).items() if name.endswith("top1")}

    def _features(self, source):
        loader = eval_loader_from_args(self._recipe, source, self._world.rank, self._world.ranks)
        features, images = in_memory(len(source), extract(self._extractor, loader, self._communicator.gather))
        if not np.isfinite(features).all():
            raise NonFinite(
                f"the features of {source.description} hold NaN or infinite values: the weights are no good"
            )
        return features, np.asarray(source.labels)[images]


def _some(source, count):
    return source if len(source) <= count else evenly_spaced(source, count)
