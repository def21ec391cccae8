"""Watches the steps that are left out because gradients overflowed in half precision."""

import logging

from mindbyol.training.log import NonFiniteLoss

logger = logging.getLogger(__name__)

# After so many overflows in a row at one loss scale, no step to come will be different.
MOST_OVERFLOWS = 10


class WatchOverflows:
    """Warns of steps left out since the line before, and stops a run in which all are.

    A watcher of a `TrainLog`; it reads the statistics `loss_scale` and `overflows`, the number since the run began.
    """

    def __init__(self):
        self.last_overflows = 0.0
        self.last_scale, self.in_a_row = None, 0

    @property
    def state(self):
        return {"overflows": self.last_overflows}

    def restore(self, state):
        self.last_overflows = state.get("overflows", 0.0)

    def look(self, line):
        """Looks at the steps since the line before.

        Raises:
            NonFiniteLoss: Every step overflows at a loss scale that does not change.
        """
        scale, overflows = line.last["loss_scale"], line.last["overflows"]
        left_out = overflows - self.last_overflows
        self.last_overflows = overflows
        if left_out > 0:
            logger.warning(
                f"overflow: {left_out:.0f} steps left out since the last line, {overflows:.0f} since the run began; "
                f"the loss scale is {scale:g}"
            )
        all_left_out = left_out >= line.steps and (line.values["loss_scale"] == scale).all()
        self.in_a_row = self.in_a_row + int(line.steps) if all_left_out and self.last_scale in (None, scale) else 0
        self.last_scale = scale
        if self.in_a_row >= MOST_OVERFLOWS:
            raise NonFiniteLoss(
                f"the last {self.in_a_row} steps overflowed at a loss scale of {scale:g} and were left out: nothing is "
                "learned any more. Try a smaller --loss_scale, or --loss_scale_type dynamic"
            )
