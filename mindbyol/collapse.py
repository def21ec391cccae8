"""Says in words when a run of BYOL collapses: when its projections no longer tell images apart."""

import logging
import math

import numpy as np

logger = logging.getLogger(__name__)

# Shares of 1 / sqrt(d); docs/watching.md has those of runs that learned and of runs that did not.
LOW, COLLAPSED = 0.4, 0.1
# A score is at chance when it is at most so many times that of a guess.
_AT_CHANCE = 1.5
# A loss below this is near 0; it starts at about 4, and falls to some tenths where images are told apart.
_NEAR_0 = 0.05


class WatchCollapse:
    """Looks for a collapse in each log line. A watcher of a `TrainLog`.

    The verdict rests on `projection_std`: it is said when two lines in a row show the same, once for a low spread and
    once for a collapse. The loss cannot tell: it is lowest when nothing is told apart. What else speaks for a collapse
    stands in the verdict beside it: a loss near 0, a probe and a kNN no better than a guess.

    Args:
        recipe (Recipe): Whose values are in what to try.
        warmup_epochs (float): Of the run; the recipe may leave them to the length of the run.
        labels (ndarray): (N,), of what is trained on; None where there are none.

    Attributes:
        healthy_std (float): 1 / sqrt(d), what `projection_std` is when projections are spread over the whole sphere.
        knn (tuple[str, float]): Name and value of the newest score by neighbours, in percent; None before the first.
    """

    state = {}

    def __init__(self, recipe, warmup_epochs, labels=None):
        self.recipe = recipe
        self.warmup_epochs = warmup_epochs
        self.healthy_std = 1 / math.sqrt(recipe.projection_size)
        self.guess = None if labels is None else np.unique(labels, return_counts=True)[1].max() / len(labels)
        self.knn = None
        self.last, self.said = 0, 0  # 0 is healthy, 1 low, 2 collapsed

    def restore(self, state):
        """Nothing is remembered."""

    def look(self, line):
        share = line.means["projection_std"] / self.healthy_std
        now = (share < LOW) + (share < COLLAPSED)
        certain, self.last = min(now, self.last), now
        if certain > self.said:
            logger.warning(self.verdict(line.means, certain == 2))
            self.said = certain
        elif self.said and now == 0:
            logger.info("the projections of different images are apart again")
            self.said = 0

    def verdict(self, means, collapsed):
        """What the numbers say, and what to try.

        Args:
            means (dict[str, float]): Of the statistics of a step, since the line before.
            collapsed (bool): Whether the spread is gone, or low.
        """
        std, loss = means["projection_std"], means["byol_loss"]
        what = "low spread: the projections of different images are close, which may end in a collapse"
        if collapsed:
            what = "collapse: the projections of different images are nearly equal"
        signs = [f"{what} (std {std:.2g}, healthy about {self.healthy_std:.2g})"]
        if loss < _NEAR_0:
            signs.append(f"the loss is near 0 ({loss:.2g}) because nothing is told apart")
        scores = {"the probe": means["probe_accuracy"]} if "probe_accuracy" in means else {}
        if self.knn:
            scores[self.knn[0]] = self.knn[1] / 100
        for name, score in scores.items():
            if score <= _AT_CHANCE * self.guess:
                signs.append(f"{name} ({score:.1%}) is no better than a guess ({self.guess:.1%})")
        recipe = self.recipe
        rate = f"--base_lr (now {recipe.base_lr:g})" if recipe.lr is None else f"--lr (now {recipe.lr:g})"
        stop = "Stop the run: it learns nothing of use. " if collapsed else ""
        return (
            f"{', '.join(signs)}. {stop}Try a smaller {rate}, a longer "
            f"--warmup_epochs (now {self.warmup_epochs:g}), a --base_tau nearer to 1 (now {recipe.base_tau:g}), or a "
            f"larger batch (now {recipe.batch_size} images; --gradient_accumulation_steps adds up several)"
        )
