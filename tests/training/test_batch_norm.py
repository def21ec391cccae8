import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor, nn, ops

from mindbyol.training import batch_norm
from mindbyol.training.batch_norm import BatchNormOfViews, interleave, separate
from mindbyol.training.running_statistics import RunningStatistics

EPS = 1e-5
MODES = pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])


def arrays(*shape):
    rng = np.random.default_rng(5)
    return [rng.normal(2, 3, shape).astype(np.float32) for _ in range(3)]


def test_views_are_interleaved_and_told_apart():
    views = [Tensor(array) for array in arrays(3, 4)[:2]]
    both = interleave(*views)
    np.testing.assert_array_equal(both.asnumpy()[[0, 1, 4]], [views[0][0], views[1][0], views[0][2]])
    for view, expected in zip(separate(both), views):
        np.testing.assert_array_equal(view.asnumpy(), expected.asnumpy())


@MODES
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5, 5)])
def test_each_view_is_normalised_as_if_it_had_passed_on_its_own(mode, shape):
    """Against MindSpore's own batch norm, called with view 1 and then with view 2."""
    ms.set_context(mode=mode)
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    own, replaced = (kind(4, eps=EPS, momentum=0.9).set_train() for _ in range(2))
    for cell in (own, replaced):
        cell.gamma.set_data(Tensor([1.5, 1, -2, 0.5], ms.float32))
        cell.beta.set_data(Tensor([0, 1, -1, 3], ms.float32))
    cell = BatchNormOfViews(replaced, 2).set_train()
    running = RunningStatistics([cell], 1)
    *views, weight = (Tensor(array) for array in arrays(*shape))

    def of_one(view_1, view_2):
        return (own(view_1) * weight + own(view_2) ** 2).sum()

    def of_both(view_1, view_2):
        y_1, y_2 = separate(cell(interleave(view_1, view_2)))
        return (y_1 * weight + y_2**2).sum()

    results = []
    for loss, norm in ((of_one, own), (of_both, cell)):
        value, (to_views, to_parameters) = ops.value_and_grad(loss, (0, 1), [norm.gamma, norm.beta])(*views)
        if norm is cell:
            running()
        results.append([value, *to_views, *to_parameters, norm.moving_mean, norm.moving_variance])
    for expected, got in zip(*results):
        np.testing.assert_allclose(got.asnumpy(), expected.asnumpy(), rtol=2e-5, atol=1e-4)
    cell.set_train(False), own.set_train(False)
    np.testing.assert_allclose(cell(views[0]).asnumpy(), own(views[0]).asnumpy(), rtol=1e-5, atol=1e-5)


VIEWS = [[0.0], [2.0]], [[10.0], [14.0]]  # means 1 and 12, unbiased variances 2 and 8


def ema(value, *views):
    for view in views:
        value = 0.5 * value + 0.5 * view
    return value


def test_running_statistics_take_view_1_first():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    cells = nn.CellList([BatchNormOfViews(nn.BatchNorm1d(1, momentum=0.5), 2).set_train() for _ in range(2)])
    running = RunningStatistics(cells, 1)
    views = [Tensor(view, ms.float32) for view in VIEWS]
    cells[0](interleave(*views)), cells[1](interleave(*reversed(views)))
    assert float(cells[0].moving_mean[0]) == 0
    running()
    for cell, order in zip(cells, ((0, 1), (1, 0))):
        assert float(cell.moving_mean[0]) == pytest.approx(ema(0, *[(1, 12)[view] for view in order]))
        assert float(cell.moving_variance[0]) == pytest.approx(ema(1, *[(2, 8)[view] for view in order]))


def test_running_statistics_of_accumulated_batches_move_once_a_step():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    cell = BatchNormOfViews(nn.BatchNorm1d(1, momentum=0.5), 2).set_train()
    running = RunningStatistics([cell], 2)
    views = [Tensor(view, ms.float32) for view in VIEWS]

    def step(finite):
        for is_first in (True, False):
            cell(interleave(*(views if is_first else reversed(views))))
            running.add(Tensor(is_first))
        running(Tensor(finite))
        return float(cell.moving_mean[0]), float(cell.moving_variance[0])

    mean, variance = ema(0, 1, 12, 12, 1), ema(1, 2, 8, 8, 2)
    assert step(True) == (pytest.approx(mean), pytest.approx(variance))
    cell(interleave(Tensor([[np.nan], [1]], ms.float32), views[0])), running.add(Tensor(False))
    before = step(False)
    assert before == (pytest.approx(mean), pytest.approx(variance))
    assert step(True) == (pytest.approx(ema(mean, 1, 12, 12, 1)), pytest.approx(ema(variance, 2, 8, 8, 2)))


def test_the_variance_of_a_constant_channel_is_not_negative():
    x = Tensor(np.full((64, 1), 1000.1, np.float32))
    one, zero = Tensor([1.0], ms.float32), Tensor([0.0], ms.float32)
    y, _, variance = batch_norm._NormalizeOverRanks((0,), EPS, 1)(x, one, zero)
    assert np.isfinite(y.asnumpy()).all() and float(variance[0]) >= 0
    assert float(batch_norm._variance(Tensor([[2.0], [3.9]], ms.float32))[0]) == 0


class Kernels:
    """What CANN's documentation says of the four kernels, in arithmetic; they run on Ascend only."""

    @staticmethod
    def stats(x, eps):
        mean, variance = x.mean((0, 2, 3)), x.astype(ms.float32).var((0, 2, 3))
        return mean, 1 / ops.sqrt(variance + eps)

    @staticmethod
    def elemt(x, gamma, beta, mean, scale, eps):
        gamma, beta, mean, scale = (p.reshape(1, -1, 1, 1) for p in (gamma, beta, mean, scale))
        return (x - mean) * scale * gamma + beta

    @staticmethod
    def reduce_grad(dy, x, mean, scale, gamma, *_):
        centred = x - mean.reshape(1, -1, 1, 1)
        sum_dy, sum_dy_x = dy.sum((0, 2, 3)), (dy * centred).sum((0, 2, 3))
        return sum_dy, sum_dy_x, sum_dy_x * scale, sum_dy

    @staticmethod
    def elemt_grad(dy, x, mean, scale, gamma, sum_dy, sum_dy_x, counts):
        n = counts.sum()
        mean, scale, gamma = (p.reshape(1, -1, 1, 1) for p in (mean, scale, gamma))
        centred = x - mean
        sum_dy, sum_dy_x = (p.reshape(1, -1, 1, 1) for p in (sum_dy, sum_dy_x))
        return (dy - sum_dy / n - centred * scale**2 * sum_dy_x / n) * scale * gamma


def test_the_way_of_ascend_is_that_of_the_cpu():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    ours = batch_norm._NormalizeOverRanks((0, 2, 3), EPS, 1)
    ascend = batch_norm._NormalizeOnAscend(EPS, 1)
    ascend.moments, ascend.apply_moments = Kernels.stats, Kernels.elemt
    ascend.gradient_sums, ascend.gradient = Kernels.reduce_grad, Kernels.elemt_grad
    x, dy, _ = (Tensor(array) for array in arrays(3, 4, 5, 5))
    inputs = x, Tensor([1.5, 1, -2, 0.5], ms.float32), Tensor([0, 1, -1, 3], ms.float32)
    outputs = [cell(*inputs) for cell in (ours, ascend)]
    nothing = Tensor(np.zeros(4, np.float32))
    gradients = [cell.bprop(*inputs, out, (dy, nothing, nothing)) for cell, out in zip((ours, ascend), outputs)]
    for expected, got in zip((*outputs[0], *gradients[0]), (*outputs[1], *gradients[1])):
        np.testing.assert_allclose(got.asnumpy(), expected.asnumpy(), rtol=1e-4, atol=1e-4)
