import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor, ops

from mindbyol.byol import byol_loss, l2_normalize, projection_std, regression_loss
from tests import reference

GOLDEN = reference.load("loss.npz")


def inputs(case):
    return [Tensor(GOLDEN[f"case_{case}/{name}"]) for name in ("pred1", "pred2", "targ1", "targ2")]


@pytest.mark.parametrize("case", range(int(GOLDEN["num_cases"])))
def test_loss_and_gradients_equal_the_reference(case):
    pred1, pred2, targ1, targ2 = inputs(case)
    expected = {
        name: GOLDEN[f"f64/case_{case}/{name}"] for name in ("term1", "term2", "loss", "grad_pred1", "grad_pred2")
    }

    np.testing.assert_allclose(regression_loss(pred1, targ2).asnumpy(), expected["term1"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(regression_loss(pred2, targ1).asnumpy(), expected["term2"], rtol=1e-6, atol=1e-6)
    loss, gradients = ops.value_and_grad(byol_loss, (0, 1))(pred1, pred2, targ1, targ2)
    assert float(loss) == pytest.approx(float(expected["loss"]), rel=1e-6)
    for pred, gradient, name in zip((pred1, pred2), gradients, ("grad_pred1", "grad_pred2")):
        pred = pred.asnumpy().astype(np.float64)
        # The size a gradient row naturally has; rows span fifteen decades.
        scale = 2 / (len(pred) * np.sqrt(np.maximum(np.sum(pred**2, 1, keepdims=True), 1e-12)))
        np.testing.assert_allclose(gradient.asnumpy() / scale, expected[name] / scale, rtol=0, atol=1e-6)


def test_gradients_agree_with_finite_differences():
    rng = np.random.default_rng(1)
    pred1, pred2, targ1, targ2 = (rng.standard_normal((3, 4)) for _ in range(4))

    def loss64(p1):
        def term(p, t):
            p, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (p, t))
            return np.sum((p - t) ** 2, 1)

        return np.mean(term(p1, targ2) + term(pred2, targ1))

    gradient = ops.grad(byol_loss)(*(Tensor(x, ms.float32) for x in (pred1, pred2, targ1, targ2))).asnumpy()
    for index in np.ndindex(3, 4):
        step = np.zeros((3, 4))
        step[index] = 1e-5
        difference = (loss64(pred1 + step) - loss64(pred1 - step)) / 2e-5
        assert gradient[index] == pytest.approx(difference, abs=1e-5)


def test_no_gradient_reaches_the_target():
    gradients = ops.grad(byol_loss, (2, 3))(*inputs(0))
    assert all(np.all(g.asnumpy() == 0) for g in gradients)


def test_hand_computed():
    # cos = 0.6 and -1: 2 - 2 * 0.6 = 0.8 and 4, whatever the lengths
    prediction = Tensor([[3.0, 4.0], [0.0, 2.0]], ms.float32)
    projection = Tensor([[5.0, 0.0], [0.0, -7.0]], ms.float32)
    np.testing.assert_allclose(regression_loss(prediction, projection).asnumpy(), [0.8, 4.0], rtol=1e-6)
    # both directions added: mean(0.8 + 0.8, 4 + 4)
    assert float(byol_loss(prediction, prediction, projection, projection)) == pytest.approx(4.8)


def test_half_precision_inputs_are_summed_in_float32():
    x = Tensor(np.full((1, 256), 60.0), ms.float16)  # the squared norm, 921,600, has no float16
    assert l2_normalize(x).dtype == ms.float32
    np.testing.assert_allclose(l2_normalize(x).asnumpy(), 1 / 16, rtol=1e-6)


def test_projection_std_tells_collapse():
    rng = np.random.default_rng(0)
    spread = float(projection_std(Tensor(rng.standard_normal((2000, 64)), ms.float32)))
    assert spread == pytest.approx(1 / 8, rel=0.02)
    assert float(projection_std(Tensor(np.ones((16, 64)), ms.float32))) == pytest.approx(0, abs=1e-6)
