"""Batch normalisation with the statistics of all replicas, each view on its own."""

import itertools

import mindspore as ms
from mindspore import nn, ops
from mindspore.ops import auto_generate

from mindbyol.training.cells import replace_cells


def _variance(means):
    """E[x^2] - E[x]^2, which rounding can push below zero where a channel is nearly constant."""
    return ops.maximum(means[1] - ops.square(means[0]), 0.0)


class _NormalizeOverRanks(nn.Cell):
    """(x - mean) / sqrt(variance + eps) * gamma + beta with moments over all replicas, and its gradient.

    With x^ the normalised x, n the values of a channel in all replicas, and sums over replicas too (Ioffe and Szegedy
    2015, section 3):

        dx = gamma / sqrt(variance + eps) * (dy - sum(dy) / n - x^ * sum(dy * x^) / n)

    What is done channel by channel is a batch norm at inference, one pass over x on any device. Operators that
    broadcast would be several, and on the CPU each of those holds four times the memory of x, from compilation on.

    Args:
        axes (tuple[int]): All but the channels'.
        eps (float): Added to the variance.
        ranks (int): Replicas that take part.

    Inputs:
        x, gamma, beta (Tensor): (N, C, ...), (C,), (C,).

    Outputs:
        Tuple of y in the type of x, mean and variance, both (C,), float32; through the moments no gradient flows.
    """

    def __init__(self, axes, eps, ranks):
        super().__init__()
        self.axes = axes
        self.eps = eps
        self.ranks = ranks
        self.all_reduce = ops.AllReduce()
        self.affine = ops.BatchNorm(is_training=False, epsilon=eps)  # (x - mean) / sqrt(variance + eps) * scale + bias

    def construct(self, x, gamma, beta):
        values = x.astype(ms.float32)
        sums = ops.stack((ops.reduce_sum(values, self.axes), ops.reduce_sum(ops.square(values), self.axes)))
        means = self.all_reduce(sums) / (x.size // x.shape[1] * self.ranks)
        mean, variance = means[0], _variance(means)
        return self.affine(values, gamma, beta, mean, variance)[0].astype(x.dtype), mean, variance

    def bprop(self, x, gamma, beta, out, dout):
        values, dy = x.astype(ms.float32), dout[0].astype(ms.float32)
        _, mean, variance = out
        zeros = ops.zeros_like(mean)
        normalized = self.affine(values, ops.ones_like(mean), zeros, mean, variance)[0]
        sums = ops.stack((ops.reduce_sum(dy, self.axes), ops.reduce_sum(dy * normalized, self.axes)))
        means = self.all_reduce(sums) / (x.size // x.shape[1] * self.ranks)
        scale = gamma * ops.rsqrt(variance + self.eps)
        dx = self.affine(dy, gamma, -scale * means[0], zeros, variance)[0]
        dx -= self.affine(values, scale * means[1], zeros, mean, variance)[0]
        return dx.astype(x.dtype), sums[1], sums[0]


class _NormalizeOnAscend(nn.Cell):
    """The same by Ascend's own kernels for it, which read x in half precision and compute in float32.

    One pass over x for its moments and one to normalise; backward one for the sums and one for dx. Written with
    arithmetic, each would be several, through copies of x in float32. `nn.SyncBatchNorm` has such kernels too, but sends
    each sum in a collective of its own; here the compiler puts those of both views into one (see
    `runtime.average_over`).

    Args:
        fusion (tuple[int, int]): Numbers of the collectives forward and backward; those with one number become one.
        eps, ranks: See `_NormalizeOverRanks`, as for inputs and outputs.
    """

    def __init__(self, fusion, eps, ranks):
        super().__init__()
        self.eps = eps
        self.ranks = ranks
        self.reduce_forward, self.reduce_backward = (_fused_all_reduce(number) for number in fusion)
        self.moments = auto_generate.BatchNormStats()
        self.apply = auto_generate.BatchNormElemt()
        self.gradient_sums = auto_generate.BatchNormReduceGrad()
        self.gradient = auto_generate.BatchNormElemtGrad()

    def construct(self, x, gamma, beta):
        mean, scale = self.moments(x, self.eps)  # of this rank; scale is 1 / sqrt(variance + eps)
        square = ops.reciprocal(ops.square(scale)) - self.eps + ops.square(mean)
        means = self.reduce_forward(ops.stack((mean, square))) / self.ranks
        mean, variance = means[0], _variance(means)
        return self.apply(x, gamma, beta, mean, ops.rsqrt(variance + self.eps), self.eps), mean, variance

    def bprop(self, x, gamma, beta, out, dout):
        _, mean, variance = out
        scale = ops.rsqrt(variance + self.eps)
        sum_dy, sum_dy_x, dgamma, dbeta = self.gradient_sums(dout[0], x, mean, scale, gamma, True, True, True)
        sums = self.reduce_backward(ops.stack((sum_dy, sum_dy_x)))
        count = ops.fill(ms.float32, (self.ranks,), x.size // x.shape[1])
        return self.gradient(dout[0], x, mean, scale, gamma, sums[0], sums[1], count), dgamma, dbeta


def _fused_all_reduce(number):
    return ops.AllReduce().add_prim_attr("fusion", number)


class SyncBatchNorm(nn.Cell):
    """Takes the place of an `nn.BatchNorm1d` or `nn.BatchNorm2d` and normalises with the moments of the global batch.

    One collective forward (both moments together) and one backward, in which gradients reach every replica's images
    through the shared moments. Variance is E[x^2] - E[x]^2 as in Haiku; the running variance holds n / (n - 1) times
    that, as MindSpore's own kernel has it on one device. Moments are float32 whatever the input.

    Args:
        batch_norm (Cell): The cell to replace; its parameters are taken over, names and all.
        ranks (int): Replicas that take part: all of them.
        number (int): Which batch norm of the network this is.
        target (str): Device target, which decides how the moments are computed.
    """

    def __init__(self, batch_norm, ranks, number, target):
        super().__init__()
        self.gamma = batch_norm.gamma
        self.beta = batch_norm.beta
        self.moving_mean = batch_norm.moving_mean
        self.moving_variance = batch_norm.moving_variance
        self.eps = batch_norm.eps
        self.new_weight = batch_norm.momentum  # MindSpore's cells keep 1 - momentum there
        self.ranks = ranks
        self.affine = ops.BatchNorm(is_training=False, epsilon=self.eps)
        if target == "Ascend":
            self.normalize = _NormalizeOnAscend((2 * number, 2 * number + 1), self.eps, ranks)
        else:
            axes = (0, 2, 3) if isinstance(batch_norm, nn.BatchNorm2d) else (0,)
            self.normalize = _NormalizeOverRanks(axes, self.eps, ranks)

    def construct(self, x):
        if self.training:
            y, mean, variance = self.normalize(x, self.gamma, self.beta)
            count = x.size // x.shape[1] * self.ranks
            unbiased = ops.stop_gradient(variance) * (count / (count - 1))
            moved_mean = self.moving_mean + self.new_weight * (ops.stop_gradient(mean) - self.moving_mean)
            moved_variance = self.moving_variance + self.new_weight * (unbiased - self.moving_variance)
            y = ops.depend(y, ops.assign(self.moving_mean, moved_mean))
            return ops.depend(y, ops.assign(self.moving_variance, moved_variance))
        values = x.astype(ms.float32)
        y = self.affine(values, self.gamma, self.beta, self.moving_mean, self.moving_variance)[0]
        return y.astype(x.dtype)


def synchronize(network, ranks):
    """Replaces every batch norm of a network, encoder and heads, online and target, by `SyncBatchNorm`.

    Args:
        network (Cell): Changed in place.
        ranks (int): Replicas that take part.

    Returns:
        int: How many were replaced.
    """
    target = ms.get_context("device_target")
    numbers = itertools.count(1)  # gradients have 1 of the numbers of collectives
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return replace_cells(network, kinds, lambda cell: SyncBatchNorm(cell, ranks, next(numbers), target))
