"""The optimizers' rules by hand, in float64: Nesterov, mmcv's LARS, rates and exclusions by name."""

import numpy as np
import pytest

import mindspore as ms
from mindspore import Parameter, Tensor, nn

from mindbyol.config import parse_args
from mindbyol.training.lars import LARS, nothing_excluded
from mindbyol.training.optimizer import create_optimizer
from mindbyol.training.plan import Plan

RATES = [0.0, 0.4, 1.6, 0.3, 0.05]


class GivenRates(nn.learning_rate_schedule.LearningRateSchedule):
    def __init__(self, rates):
        super().__init__()
        self.rates = Tensor(rates, ms.float32)

    def construct(self, global_step):
        return self.rates[global_step]


def parameters():
    rng = np.random.default_rng(1)
    named = {"backbone.weight": (3, 4), "backbone.gamma": (3,), "head.weight": (2, 3), "head.bias": (2,)}
    return [Parameter(rng.normal(size=shape).astype(np.float32), name=name) for name, shape in named.items()]


def gradients(step):
    rng = np.random.default_rng(100 + step)
    return [rng.normal(size=p.shape).astype(np.float32) for p in parameters()]


def updated(optimizer, steps=5):
    """Values of the parameters after each step."""
    after = []
    for step in range(steps):
        optimizer(tuple(Tensor(g) for g in gradients(step)))
        after.append([p.asnumpy().astype(np.float64) for p in optimizer.parameters])
    return after


def by_hand(update, steps=5):
    """The same with `update(name, weight, gradient, buffer, lr, step)`, which gives weight and buffer."""
    names = [p.name for p in parameters()]
    weights = [p.asnumpy().astype(np.float64) for p in parameters()]
    buffers = [np.zeros_like(w) for w in weights]
    after = []
    for step in range(steps):
        for i, gradient in enumerate(gradients(step)):
            gradient = gradient.astype(np.float64)
            weights[i], buffers[i] = update(names[i], weights[i], gradient, buffers[i], RATES[step], step)
        after.append([w.copy() for w in weights])
    return after


def assert_equal(found, expected):
    for of_step, by_step in zip(found, expected):
        for value, wanted in zip(of_step, by_step):
            np.testing.assert_allclose(value, wanted, rtol=0, atol=3e-6 * max(1, np.abs(wanted).max()))


def rate_by_name(name):
    return 10.0 if name.startswith("head") else 1.0


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_mmcvs_lars_over_steps_with_a_changing_rate(weight_decay):
    """mmselfsup `optimizer/optimizers.py`; without exclusions, so a bias has a trust ratio, too."""

    def update(name, w, g, v, lr, step):
        both = np.linalg.norm(w) > 0 and np.linalg.norm(g) > 0
        denominator = np.linalg.norm(g) + weight_decay * np.linalg.norm(w) + 1e-8
        ratio = 0.02 * np.linalg.norm(w) / denominator if both else 1
        v = 0.9 * v + (g + weight_decay * w) * ratio * lr * rate_by_name(name)
        return w - v, v

    optimizer = LARS(
        parameters(),
        GivenRates(RATES),
        weight_decay=weight_decay,
        trust_coefficient=0.02,
        exclude=nothing_excluded,
        multiplier=rate_by_name,
        rule="mmcv",
    )
    assert_equal(updated(optimizer), by_hand(update))


def test_mmcvs_lars_starts_a_weight_of_zeros_with_the_plain_rate():
    weight = Parameter(np.zeros(3, np.float32), name="head.bias")
    optimizer = LARS([weight], GivenRates([0.5, 0.5]), exclude=nothing_excluded, rule="mmcv")
    optimizer((Tensor(np.array([1, -2, 0], np.float32)),))
    np.testing.assert_allclose(weight.asnumpy(), [-0.5, 1.0, 0])
    optimizer((Tensor(np.zeros(3, np.float32)),))  # a gradient of zeros: the momentum alone
    np.testing.assert_allclose(weight.asnumpy(), [-0.95, 1.9, 0], rtol=1e-6)


def test_the_rules_differ_while_the_rate_changes():
    found = [
        updated(LARS(parameters(), GivenRates(RATES), weight_decay=0, exclude=nothing_excluded, rule=rule))[-1][0]
        for rule in ("deepmind", "mmcv")
    ]
    assert np.abs(found[0] - found[1]).max() > 1e-3


class Network(nn.Cell):
    """Has parameters and no layers."""

    def __init__(self):
        super().__init__()
        self.held = parameters()

    def trainable_params(self, recurse=True):
        return self.held


def built(*argv, multiplier=rate_by_name):
    recipe = parse_args(["--batch_size", "16", "--epoch_size", "4", "--warmup_epochs", "0", *argv])
    return create_optimizer(recipe, Network(), Plan(recipe, 64), multiplier)


SCHEDULE = ["--scheduler", "multi_step_decay", "--multi_step_decay_milestones", "1", "2", "--lr", "0.4"]


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_with_rates_and_decay_by_name(nesterov):
    """PyTorch's rule: g <- g + wd w, v <- m v + g, w <- w - lr (g + m v), without Nesterov w <- w - lr v."""

    def update(name, w, g, v, _, step):
        lr = 0.4 * 0.1 ** (step // 4)  # 4 steps an epoch
        g = g + (0.1 * w if name.endswith("weight") else 0)
        v = 0.9 * v + g
        return w - lr * rate_by_name(name) * (g + 0.9 * v if nesterov else v), v

    argv = ["--opt", "sgd", "--use_nesterov", str(nesterov), "--weight_decay", "0.1", *SCHEDULE]
    assert_equal(updated(built(*argv)), by_hand(update))


def test_without_the_filter_all_parameters_decay():
    optimizer = built("--opt", "sgd", "--weight_decay", "0.1", "--filter_bias_and_bn", "False", *SCHEDULE)
    assert [float(decay) for decay in optimizer.weight_decay] == pytest.approx([0.1] * 4)
    optimizer = built("--opt", "lars", "--filter_bias_and_bn", "False", *SCHEDULE)
    assert optimizer.excluded == (False,) * 4
    assert built("--opt", "lars", *SCHEDULE).excluded == (False, True, False, True)


@pytest.mark.parametrize("opt", ["adamw", "lars"])
def test_a_rate_by_name_is_that_rate_for_all(opt):
    """What learns ten times as fast moves as far as if all did."""
    argv = ["--opt", opt, *SCHEDULE[:-1]]
    mixed = updated(built(*argv, "0.001"))
    slow, fast = (updated(built(*argv, lr, multiplier=lambda name: 1.0)) for lr in ("0.001", "0.01"))
    for step in range(5):
        for i, parameter in enumerate(parameters()):
            expected = fast if parameter.name.startswith("head") else slow
            np.testing.assert_allclose(mixed[step][i], expected[step][i], rtol=1e-6, atol=1e-9)
    assert float(built(*argv, "0.001").schedule(Tensor(0))) == pytest.approx(0.001)  # what the log says
