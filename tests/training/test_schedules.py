import math

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor

from mindbyol.training.schedules import WarmupCosine, learning_rate, scaled_learning_rate, target_tau
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


def test_no_warmup_starts_at_the_peak():
    assert float(learning_rate(Tensor(0, ms.int32), 2.0, 0, 10)) == 2.0


def test_the_cell_is_the_function_inside_a_graph():
    schedule = WarmupCosine(1.5, 4, 20)
    for step in (0, 3, 4, 11, 20):
        expected = 1.5 * step / 4 if step < 4 else 0.75 * (1 + math.cos(math.pi * (step - 4) / 16))
        assert float(schedule(Tensor([step], ms.int32))) == pytest.approx(expected, abs=1e-6)
