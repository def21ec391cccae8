"""Batch normalisation with the statistics of all replicas, each view on its own."""

import mindspore as ms
from mindspore import nn, ops

from mindbyol.cells import replace_cells


class SyncBatchNorm(nn.Cell):
    """Takes the place of an `nn.BatchNorm1d` or `nn.BatchNorm2d` and normalises with the moments of the global batch.

    Made of AllReduce and arithmetic, since `nn.SyncBatchNorm` runs on Ascend only: one collective forward (sums and
    sums of squares together) and one backward, in which gradients reach every replica's images through the shared
    moments. Variance is E[x^2] - E[x]^2 as in Haiku; the running variance holds n / (n - 1) times that, as MindSpore's
    own kernel has it on one device. Moments are float32 whatever the input.

    Args:
        batch_norm (Cell): The cell to replace; its parameters are taken over, names and all.
        ranks (int): Replicas that take part: all of them.
    """

    def __init__(self, batch_norm, ranks):
        super().__init__()
        self.gamma = batch_norm.gamma
        self.beta = batch_norm.beta
        self.moving_mean = batch_norm.moving_mean
        self.moving_variance = batch_norm.moving_variance
        self.eps = batch_norm.eps
        self.new_weight = batch_norm.momentum  # MindSpore's cells keep 1 - momentum there
        self.axes = (0, 2, 3) if isinstance(batch_norm, nn.BatchNorm2d) else (0,)
        self.shape = (1, -1, 1, 1) if isinstance(batch_norm, nn.BatchNorm2d) else (1, -1)
        self.ranks = ranks
        self.all_reduce = ops.AllReduce()

    def construct(self, x):
        inputs = x
        x = x.astype(ms.float32)
        if self.training:
            count = x.size // x.shape[1] * self.ranks
            sums = ops.stack((ops.reduce_sum(x, self.axes), ops.reduce_sum(ops.square(x), self.axes)))
            moments = self.all_reduce(sums) / count
            mean = moments[0]
            variance = moments[1] - ops.square(mean)
            unbiased = ops.stop_gradient(variance) * (count / (count - 1))
            moved_mean = self.moving_mean + self.new_weight * (ops.stop_gradient(mean) - self.moving_mean)
            moved_variance = self.moving_variance + self.new_weight * (unbiased - self.moving_variance)
            mean = ops.depend(mean, ops.assign(self.moving_mean, moved_mean))
            variance = ops.depend(variance, ops.assign(self.moving_variance, moved_variance))
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = self.gamma * ops.rsqrt(variance + self.eps)
        y = (x - mean.reshape(self.shape)) * scale.reshape(self.shape) + self.beta.reshape(self.shape)
        return y.astype(inputs.dtype)


def synchronize(network, ranks):
    """Replaces every batch norm of a network, encoder and heads, online and target, by `SyncBatchNorm`.

    Args:
        network (Cell): Changed in place.
        ranks (int): Replicas that take part.

    Returns:
        int: How many were replaced.
    """
    return replace_cells(network, (nn.BatchNorm1d, nn.BatchNorm2d), lambda cell: SyncBatchNorm(cell, ranks))
