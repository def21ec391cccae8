"""Batch normalisation over all replicas, and of batches that hold two views of each image, each view on its own.

Images stand in a batch of two views as view 1 of the first, view 2 of the first, view 1 of the second, ... Read as
(N, 2 C, ...) in the place of (2 N, C, ...), which copies nothing, it has the channels of both views side by side: a
batch norm over 2 C channels keeps the views apart, and its moments travel between replicas in one collective.
"""

import numpy as np

import mindspore as ms
from mindspore import Parameter, nn, ops
from mindspore.ops import auto_generate

from mindbyol.training.cells import replace_cells

VIEWS = 2


def interleave(view_1, view_2):
    """Two views (N, ...) to one batch (2 N, ...): view 1 of the first image, view 2 of the first, and so on."""
    return ops.stack((view_1, view_2), 1).reshape((VIEWS * view_1.shape[0],) + view_1.shape[1:])


def separate(x):
    """What a network made of an interleaved batch, (2 N, D), to that of view 1 and that of view 2, both (N, D)."""
    both = x.reshape((x.shape[0] // VIEWS, VIEWS) + x.shape[1:])
    return both[:, 0], both[:, 1]


def _variance(means):
    """E[x^2] - E[x]^2, which rounding can push below zero where a channel is nearly constant."""
    return ops.maximum(means[1] - ops.square(means[0]), 0.0)


class _Normalize(nn.Cell):
    """(x - mean) / sqrt(variance + eps) * gamma + beta with the moments of x, by MindSpore's kernel for the CPU.

    Inputs:
        x, gamma, beta (Tensor): (N, C, ...), (C,), (C,).

    Outputs:
        Tuple of y in the type of x, mean and variance, both (C,), float32; through the moments no gradient flows.
    """

    def __init__(self, eps):
        super().__init__()
        self.batch_norm = ops.BatchNorm(is_training=True, epsilon=eps)

    def construct(self, x, gamma, beta):
        unused = ops.zeros_like(gamma)  # the kernel's own running statistics
        y, _, _, mean, variance = self.batch_norm(x.astype(ms.float32), gamma, beta, unused, unused)
        return y.astype(x.dtype), mean, variance


class _NormalizeOverRanks(nn.Cell):
    """The same with moments over all replicas, and its gradient, made of operators that every device has.

    With x^ the normalised x, n the values of a channel in all replicas, and sums over replicas too (Ioffe and Szegedy
    2015, section 3):

        dx = gamma / sqrt(variance + eps) * (dy - sum(dy) / n - x^ * sum(dy * x^) / n)

    What is done channel by channel is a batch norm at inference, one pass over x on any device. Operators that
    broadcast would be several, and on the CPU each of those holds four times the memory of x, from compilation on.

    Args:
        axes (tuple[int]): All but the channels'.
        eps (float): Added to the variance.
        ranks (int): Replicas that take part.

    Inputs and outputs as of `_Normalize`.
    """

    def __init__(self, axes, eps, ranks):
        super().__init__()
        self.axes = axes
        self.eps = eps
        self.ranks = ranks
        self.all_reduce = ops.AllReduce() if ranks > 1 else nn.Identity()
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

    One pass over x for its moments and one to normalise; backward one for the sums and one for dx. Made of arithmetic,
    each would be several, through copies of x in float32. `nn.SyncBatchNorm` has such kernels too, but sends each sum
    in a collective of its own.

    Args:
        eps, ranks: See `_NormalizeOverRanks`.

    Inputs and outputs as of `_Normalize`.
    """

    def __init__(self, eps, ranks):
        super().__init__()
        self.eps = eps
        self.ranks = ranks
        self.all_reduce = ops.AllReduce() if ranks > 1 else nn.Identity()
        self.moments = auto_generate.BatchNormStats()
        self.apply_moments = auto_generate.BatchNormElemt()
        self.gradient_sums = auto_generate.BatchNormReduceGrad()
        self.gradient = auto_generate.BatchNormElemtGrad()

    def construct(self, x, gamma, beta):
        mean, scale = self.moments(x, self.eps)  # of this rank; scale is 1 / sqrt(variance + eps)
        square = ops.addcmul(ops.pow(scale, -2), mean, mean)  # E[x^2] + eps
        mean, square = ops.unbind(self.all_reduce(ops.stack((mean, square))) / self.ranks)
        wider = ops.maximum(ops.addcmul(square, mean, mean, -1), self.eps)  # variance + eps
        return self.apply_moments(x, gamma, beta, mean, ops.rsqrt(wider), self.eps), mean, wider - self.eps

    def bprop(self, x, gamma, beta, out, dout):
        _, mean, variance = out
        scale = ops.rsqrt(variance + self.eps)
        sum_dy, sum_dy_x, dgamma, dbeta = self.gradient_sums(dout[0], x, mean, scale, gamma, True, True, True)
        sum_dy, sum_dy_x = ops.unbind(self.all_reduce(ops.stack((sum_dy, sum_dy_x))))
        counts = ops.fill(ms.float32, (self.ranks,), x.size // x.shape[1])
        return self.gradient(dout[0], x, mean, scale, gamma, sum_dy, sum_dy_x, counts), dgamma, dbeta


class BatchNormOfViews(nn.Cell):
    """Takes the place of an `nn.BatchNorm1d` or `nn.BatchNorm2d`: moments of each view on its own, of all replicas.

    Variance is E[x^2] - E[x]^2 as in Haiku. Moments are float32 whatever the input. The running statistics stay in the
    forward pass, which only notes what they are to take: of the variance n / (n - 1) times the batch's, as MindSpore's
    own kernel does. `running_statistics.RunningStatistics` moves them.

    Args:
        batch_norm (Cell): The cell to replace; its parameters are taken over, names and all.
        views (int): How many views of each image a batch holds in train mode, interleaved; 1 for plain batches.
        ranks (int): Replicas that take part: all of them.

    Inputs:
        Tensor (views * N, C, ...).
    """

    def __init__(self, batch_norm, views, ranks=1):
        super().__init__()
        self.moving_mean = batch_norm.moving_mean
        self.moving_variance = batch_norm.moving_variance
        self.gamma = batch_norm.gamma
        self.beta = batch_norm.beta
        self.eps = batch_norm.eps
        self.axes = (0, 2, 3) if isinstance(batch_norm, nn.BatchNorm2d) else (0,)
        self.affine = ops.BatchNorm(is_training=False, epsilon=self.eps)
        self.new_share = batch_norm.momentum  # of a view; MindSpore's cells keep 1 - momentum there
        self.views = views
        self.notes_moments = False
        self.over_ranks(ranks)

    def note_moments(self):
        """From now on each batch in train mode leaves its moments in two parameters, which are no part of the network.

        Returns:
            tuple[Parameter]: Means and unbiased variances, both (views * C,): those of view 1 first.
        """
        names = ("mean", "variance")
        if not self.notes_moments:
            zeros = np.zeros(self.views * self.gamma.size, np.float32)
            for name in names:
                noted = Parameter(zeros, name=f"noted.{self.gamma.name}.{name}", requires_grad=False)
                object.__setattr__(self, f"noted_{name}", noted)  # not as a cell's own: it would be in checkpoints
            self.notes_moments = True
        return tuple(getattr(self, f"noted_{name}") for name in names)

    def over_ranks(self, ranks):
        """Makes the moments those of so many replicas."""
        self.ranks = ranks
        target = ms.get_context("device_target")
        if target == "Ascend":
            self.normalize = _NormalizeOnAscend(self.eps, ranks)
        elif target == "CPU" and ranks == 1:
            self.normalize = _Normalize(self.eps)
        else:
            self.normalize = _NormalizeOverRanks(self.axes, self.eps, ranks)

    def construct(self, x):
        if not self.training:
            values = x.astype(ms.float32)
            y = self.affine(values, self.gamma, self.beta, self.moving_mean, self.moving_variance)[0]
            return y.astype(x.dtype)
        channels = self.views * x.shape[1]
        by_view = x.reshape((x.shape[0] // self.views, channels) + x.shape[2:])
        if x.dtype == ms.bfloat16:  # which Ascend's kernels for it do not read
            by_view = by_view.astype(ms.float32)
        y, mean, variance = self.normalize(
            by_view, ops.tile(self.gamma, (self.views,)), ops.tile(self.beta, (self.views,))
        )
        if self.notes_moments:
            count = x.size // channels * self.ranks
            y = ops.depend(y, ops.assign(self.noted_mean, ops.stop_gradient(mean)))
            unbiased = ops.stop_gradient(variance) * (count / (count - 1))
            y = ops.depend(y, ops.assign(self.noted_variance, unbiased))
        return y.reshape(x.shape).astype(x.dtype)


def separate_views(network):
    """Lets every batch norm of a network take interleaved batches of two views; parameters keep their names.

    Args:
        network (Cell): Changed in place.
    """
    replace_cells(network, (nn.BatchNorm1d, nn.BatchNorm2d), lambda cell: BatchNormOfViews(cell, VIEWS))


def synchronize(network, ranks):
    """Lets every batch norm of a network use the moments of all replicas; parameters keep their names.

    Args:
        network (Cell): Changed in place. Batch norms whose views were not separated take plain batches.
        ranks (int): Replicas that take part: all of them.
    """
    replace_cells(network, (nn.BatchNorm1d, nn.BatchNorm2d), lambda cell: BatchNormOfViews(cell, 1, ranks))
    for _, cell in network.cells_and_names():
        if isinstance(cell, BatchNormOfViews):
            cell.over_ranks(ranks)
