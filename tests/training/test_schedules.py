import math

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor

from mindbyol.training.schedules import (
    Multiplied,
    MultiStep,
    WarmupCosine,
    learning_rate,
    multi_step_learning_rate,
    polynomial_learning_rate,
    scaled_learning_rate,
    target_tau,
)
from tests import reference

GOLDEN = reference.load("schedules.npz")


@pytest.mark.parametrize("case", range(int(GOLDEN["num_ema"])))
def test_tau_equals_the_reference(case):
    steps, expected = GOLDEN[f"ema_{case}/steps"], GOLDEN[f"f64/ema_{case}/tau"]
    base, total = float(GOLDEN[f"ema_{case}/base"]), int(GOLDEN[f"ema_{case}/total_steps"])
    tau = target_tau(Tensor(steps, ms.int32), base, total).asnumpy()
    np.testing.assert_allclose(tau, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("case", range(int(GOLDEN["num_lr"])))
def test_learning_rate_equals_the_reference(case):
    key = f"lr_{case}/"
    peak = scaled_learning_rate(float(GOLDEN[key + "base_lr"]), int(GOLDEN[key + "batch_size"]))
    lr = learning_rate(
        Tensor(GOLDEN[key + "steps"], ms.int32),
        peak,
        int(GOLDEN[key + "warmup_steps"]),
        int(GOLDEN[key + "total_steps"]),
    )
    np.testing.assert_allclose(lr.asnumpy(), GOLDEN["f64/" + key + "lr"], rtol=0, atol=1e-6 * peak)


def test_hand_computed():
    step = Tensor([0, 50, 100, 200], ms.int32)
    np.testing.assert_allclose(target_tau(step, 0.9, 100).asnumpy(), [0.9, 0.95, 1, 1], atol=1e-7)
    # warm-up of 50 steps to 0.4, then half a cosine over 50 steps down to 0.1
    np.testing.assert_allclose(
        learning_rate(Tensor([0, 25, 50, 75, 100], ms.int32), 0.4, 50, 100, 0.1).asnumpy(),
        [0, 0.2, 0.4, 0.25, 0.1],
        atol=1e-7,
    )
    assert scaled_learning_rate(0.2, 4096) == pytest.approx(3.2)


def test_a_polynomial_falls_to_the_minimum():
    # (0.01 - 1e-4) (1 - k / 20000)^0.9 + 1e-4: at half of the run 0.0099 * 0.5 ** 0.9 + 0.0001
    step = Tensor([0, 10000, 20000, 20001], ms.int32)
    found = polynomial_learning_rate(step, 0.01, 0, 20000, 0.9, 1e-4).asnumpy()
    np.testing.assert_allclose(found, [0.01, 0.0099 * 0.5358867 + 0.0001, 1e-4, 1e-4], rtol=1e-5)


def test_a_warm_up_may_begin_above_0():
    # mmcv: from a thousandth of the peak, in a line, over 100 steps; then the schedule, at its own steps
    step = Tensor([0, 50, 99, 100, 150], ms.int32)
    expected = [2e-5, 0.02 * (0.001 + 0.999 / 2), 0.02 * (0.001 + 0.999 * 0.99), 0.02]
    found = multi_step_learning_rate(step, 0.02, 100, [150], 0.1, 0.001).asnumpy()
    np.testing.assert_allclose(found, [*expected, 0.002], rtol=1e-5)
    found = learning_rate(step, 0.02, 100, 200, warmup_factor=0.001).asnumpy()
    np.testing.assert_allclose(found, [*expected, 0.01], rtol=1e-5)
    found = polynomial_learning_rate(step, 0.02, 100, 200, 1.0, warmup_factor=0.001).asnumpy()
    np.testing.assert_allclose(found, [*expected[:3], 0.01, 0.005], rtol=1e-5)


def test_no_warmup_starts_at_the_peak():
    assert float(learning_rate(Tensor(0, ms.int32), 2.0, 0, 10)) == 2.0


def test_the_cosine_by_epochs_stays_within_an_epoch():
    """mmcv's `by_epoch`: (1 + cos(pi epoch / epochs)) / 2, here of 4 epochs of 5 steps."""
    steps = Tensor(np.arange(20), ms.int32)
    expected = np.repeat([1.6 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)], 5)
    np.testing.assert_allclose(learning_rate(steps, 1.6, 0, 20, stair_steps=5).asnumpy(), expected, atol=1e-6)
    assert expected[0] == 1.6 and expected[10] == pytest.approx(0.8)
    # mmselfsup's 90 epochs of 312 steps: the last step of an epoch and the first of the next
    steps = Tensor([311, 312, 14039, 14040, 28079], ms.int32)
    expected = [1.6, 1.59951266, 0.82791960, 0.8, 0.00048734]
    np.testing.assert_allclose(learning_rate(steps, 1.6, 0, 28080, stair_steps=312).asnumpy(), expected, atol=1e-6)


def test_multi_step_by_hand():
    # a warm-up of 2 steps, then 0.4, from step 4 on 0.04, from step 6 on 0.004; a milestone beyond the end is none
    steps = Tensor([0, 1, 2, 3, 4, 5, 6, 9], ms.int32)
    expected = [0, 0.2, 0.4, 0.4, 0.04, 0.04, 0.004, 0.004]
    np.testing.assert_allclose(multi_step_learning_rate(steps, 0.4, 2, [4, 6, 10], 0.1).asnumpy(), expected, rtol=1e-6)
    assert float(MultiStep(0.4, 0, [4, 6], 0.1)(Tensor([5], ms.int32))) == pytest.approx(0.04)
    assert float(Multiplied(MultiStep(0.4, 0, [], 0.1), 10)(Tensor([5], ms.int32))) == pytest.approx(4)


def test_the_cell_is_the_function_inside_a_graph():
    schedule = WarmupCosine(1.5, 4, 20)
    for step in (0, 3, 4, 11, 20):
        expected = 1.5 * step / 4 if step < 4 else 0.75 * (1 + math.cos(math.pi * (step - 4) / 16))
        assert float(schedule(Tensor([step], ms.int32))) == pytest.approx(expected, abs=1e-6)
