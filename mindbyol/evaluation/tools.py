"""What a protocol gets from the runner: features, and the other ranks without knowing them."""

import math

import numpy as np

from mindbyol import runtime
from mindbyol.checkpoint import NonFinite
from mindbyol.data import eval_loader_from_args
from mindbyol.evaluation.classification import score
from mindbyol.evaluation.features import FeatureExtractor, extract, pixels


def _check_finite(features, subject, source):
    """NaN is near to nothing: it would be scored, as 0 %."""
    bad = np.count_nonzero(~np.isfinite(features).all(1))
    if bad:
        raise NonFinite(
            f"ckpt_path: the {subject.name} features of {bad} of {source.description} are NaN or infinite, so there is "
            "no score: the weights are not those of a healthy run"
        )


class Tools:
    """Features, each computed once, and what several ranks need to share work.

    Args:
        recipe (Recipe): Of a task that scores.
        world (World): Devices that score together.
    """

    def __init__(self, recipe, world):
        self._recipe = recipe
        self._world = world
        self._communicator = runtime.Communicator(world)
        self._features = {}

    def features(self, subject, source):
        """Features of all images of a source; all ranks must ask, and all get them.

        Args:
            subject (Scored): What gives them.
            source (Source): The images.

        Returns:
            tuple[ndarray, ndarray or None]: (N, F) float32 and the labels, in the order of the source.

        Raises:
            NonFinite: Some are NaN or infinite.
        """
        key = subject.name, subject.digest, id(source)
        if key not in self._features:
            extractor = (
                pixels if subject.backbone is None else FeatureExtractor(subject.backbone, subject.mean, subject.std)
            )
            loader = eval_loader_from_args(self._recipe, source, self._world.rank, self._world.ranks)
            features, labels = extract(extractor, loader, self._communicator.gather)
            _check_finite(features, subject, source)
            self._features[key] = features, labels
        return self._features[key]

    def classify(self, logits_of, source):
        """Scores classifiers on a source; all ranks must ask. See `classification.score`."""
        loader = eval_loader_from_args(self._recipe, source, self._world.rank, self._world.ranks)
        return score(logits_of, loader, self._communicator.gather)

    def share(self, count):
        """The slice of `count` rows that this rank works on."""
        size = math.ceil(count / self._world.ranks)
        return slice(self._world.rank * size, (self._world.rank + 1) * size)

    def total(self, counts):
        """Sums over the ranks, exact for counts below 2^24.

        Args:
            counts (sequence[float]): One number each; all ranks must bring as many.

        Returns:
            ndarray: float64.
        """
        return self._communicator.gather(np.array(counts, np.float32)).astype(np.float64).sum(0)
