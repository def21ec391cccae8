"""The best score of a run so far: what decides whose weights are kept."""


class BestScore:
    """Remembers the best score. A watcher of a `TrainLog`, so that a run that goes on knows it.

    Attributes:
        value (float): The highest so far; None before the first.
    """

    def __init__(self):
        self.value = None

    @property
    def state(self):
        return {} if self.value is None else {"best_score": self.value}

    def restore(self, state):
        self.value = state.get("best_score")

    def look(self, line):
        """Scores do not come with lines."""

    def improved(self, scores):
        """Whether the first of the scores is higher than all before it; an equal one is not.

        Args:
            scores (dict[str, float]): Those of an epoch.
        """
        score = next(iter(scores.values()))
        if self.value is not None and score <= self.value:
            return False
        self.value = score
        return True
