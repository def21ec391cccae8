"""The running statistics of a network's batch norms, moved together once an optimizer step."""

import numpy as np

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from mindbyol.training.batch_norm import BatchNormOfViews
from mindbyol.training.flat import Flat

_assign = ops.MultitypeFuncGraph("assign")


@_assign.register("Tensor", "Tensor")
def _assign_one(target, source):
    return ops.assign(target, source)


def moved_together(network):
    """The batch norms of a network whose running statistics `RunningStatistics` moves.

    Returns:
        list[BatchNormOfViews]: Those in train mode.
    """
    cells = [cell for _, cell in network.cells_and_names()]
    return [cell for cell in cells if isinstance(cell, BatchNormOfViews) and cell.training]


class RunningStatistics(nn.Cell):
    """running <- (1 - w) running + w view, for one view after the other, and one batch after the other.

    In the forward pass a batch norm only notes its batch's moments. All of a network are then taken as one vector of T
    numbers: some ten operators in the place of a dozen a batch norm. A step that is left out moves nothing, to the bit.

    Args:
        norms (sequence[BatchNormOfViews]): Whose statistics; they take as many views each.
        batches (int): How many make a step.

    Inputs:
        finite (Tensor): bool; whether the step is made. None for always.
    """

    def __init__(self, norms, batches):
        super().__init__(auto_prefix=False)
        views = norms[0].views
        noted, running, index, shares, old_shares = [], [], [], [], []
        start = 0
        for norm in norms:
            channels, new = norm.moving_mean.size, norm.new_share
            for statistic, kept in zip(norm.note_moments(), (norm.moving_mean, norm.moving_variance)):
                noted.append(statistic)
                running.append(kept)
                index.append(start + np.arange(views * channels).reshape(views, channels))
                view_shares = [new * (1 - new) ** later for later in reversed(range(views))]
                shares.append(np.repeat(np.array(view_shares)[:, None], channels, 1))
                old_shares.append(np.full(channels, 1 - new) ** views)
                start += views * channels
        self.noted, self.running = ParameterTuple(noted), ParameterTuple(running)
        self.all_noted, self.all_running = Flat([p.shape for p in noted]), Flat([p.shape for p in running])
        self.index = Tensor(np.concatenate(index, 1), ms.int32)  # (views, T)
        self.shares = Tensor(np.concatenate(shares, 1), ms.float32)  # (views, T)
        old_shares = np.concatenate(old_shares)  # (T,)
        self.old_share = Tensor(old_shares, ms.float32)
        self.old_share_of_step = Tensor(old_shares**batches, ms.float32)
        self.batches = batches
        self.hyper_map = ops.HyperMap()
        if batches > 1:
            zeros = Tensor(np.zeros(old_shares.shape), ms.float32)
            self.sums = Parameter(zeros, name="accumulated.statistics", requires_grad=False)

    def construct(self, finite=None):
        before = self.all_running(self.running)
        new = self.sums if self.batches > 1 else self.of_batch()
        after = before * self.old_share_of_step + new
        if finite is not None:
            after = ops.select(finite, after, before)
        return self.hyper_map(_assign, self.running, self.all_running.parts(after))

    def add(self, is_first):
        """After each of several batches of a step; `is_first` marks the first of them, a bool tensor."""
        sums = ops.select(is_first, ops.zeros_like(self.sums), self.sums)
        return ops.assign(self.sums, sums * self.old_share + self.of_batch())

    def of_batch(self):
        """What the views of the last batch bring, (T,)."""
        of_views = ops.gather(self.all_noted(self.noted), self.index, 0)
        return ops.reduce_sum(of_views * self.shares, 0)
