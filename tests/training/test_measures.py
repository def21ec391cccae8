import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor, nn

from mindbyol.byol import BYOLTrainOneStep
from mindbyol.training.loss_scale import LossScale
from mindbyol.training.measures import Measures, distance, norm
from mindbyol.training.schedules import WarmupCosine
from tests.training.test_build import batch, tiny_network, values

RATE = 0.05


def create(accumulation=1, loss_scale=None):
    """Plain gradient descent, whose update is the rate times the gradient."""
    network = tiny_network()
    optimizer = nn.SGD(network.trainable_params(), WarmupCosine(RATE, 0, 10**6))
    return BYOLTrainOneStep(network, optimizer, 0.9, 16, accumulation, loss_scale, notes_gradient_norm=True)


def length(arrays):
    return np.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in arrays))


@pytest.mark.parametrize("accumulation, scale", [(1, None), (2, 8.0)])
def test_norms_are_those_of_the_arrays(accumulation, scale):
    step = create(accumulation, scale and LossScale(scale, True))
    measures = Measures(step)
    for k in range(2 * accumulation):  # the second step is measured
        if k == accumulation:
            before = values(step.network)
            measures.before_step()
        step(*batch(k))
    after = values(step.network)
    trained = [p.name for p in step.optimizer.parameters]
    update = length(after[name] - before[name] for name in trained)
    online = [name for name in after if name.startswith("online.") and "moving_" not in name]
    lag = length(after[name.replace("online", "target")] - after[name] for name in online)
    found = measures.after_step()
    assert found["update_norm"] == pytest.approx(update, rel=1e-4)
    assert found["gradient_norm"] == pytest.approx(update / RATE, rel=1e-3)
    assert found["target_distance"] == pytest.approx(lag / length(after[name] for name in online), rel=1e-4)
    assert 0.1 < found["target_distance"] < 2


def test_norms_of_large_tensors_lose_nothing():
    array = np.random.default_rng(0).normal(size=(3, 2_000_000)).astype(np.float32)
    found = norm((Tensor(array[0]), Tensor(array[1:])))
    assert float(found) == pytest.approx(length([array]), rel=1e-5)
    assert float(distance((Tensor(array[0]),), (Tensor(array[1]),))) == pytest.approx(
        length([array[0] - array[1]]), 1e-5
    )


def test_a_step_that_is_left_out_has_no_gradient_and_no_update():
    step = create(loss_scale=LossScale(3e38, True))
    measures = Measures(step)
    measures.before_step()
    step(*batch())
    found = measures.after_step()
    assert not np.isfinite(found["gradient_norm"]) and found["update_norm"] == 0


def test_what_is_noted_is_no_state():
    step = create()
    Measures(step)
    names = [p.name for p in step.lasting_parameters()]
    assert not [name for name in names if "norm" in name.split(".")[-1] or "before" in name]
    assert ms.get_context("mode") == ms.GRAPH_MODE
