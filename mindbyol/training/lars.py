"""LARS as DeepMind trains BYOL with it (You et al. 2017; byol `utils/optimizers.py`)."""

import mindspore as ms
from mindspore import Tensor, nn, ops


def excluded_from_lars(name):
    """Whether a parameter gets neither weight decay nor the trust ratio: every bias, every gamma and beta of a norm.

    The shortcut's batch norm (`down_sample.1.gamma`) is one of them, which rules written on the words "bn" and "bias"
    miss.

    Args:
        name (str): Parameter name, such as `online.backbone.layer1.0.down_sample.1.gamma`.
    """
    return name.rsplit(".", 1)[-1] in ("bias", "gamma", "beta")


_lars_update = ops.MultitypeFuncGraph("lars_update")
_NAN = float("nan")

# v <- momentum v + u, w <- w - lr v in one pass over memory
_apply_momentum = ops.ApplyMomentum()


def _norm(x):
    # Flat first: MindSpore's CPU kernel sums one axis twice as fast as four.
    return ops.sqrt(ops.reduce_sum(ops.square(x.reshape(-1)), 0))


@_lars_update.register("Tensor", "Tensor", "Number", "Number", "Tensor", "Tensor", "Tensor", "Bool")
def _update_one(lr, momentum, weight_decay, trust_coefficient, parameter, gradient, moment, excluded):
    update = gradient
    if not excluded:
        if weight_decay > 0:
            update = update + weight_decay * parameter
        parameter_norm, update_norm = _norm(parameter), _norm(update)
        both = ops.logical_and(parameter_norm > 0, update_norm > 0)
        # No epsilon: where a norm is zero the ratio is 1, and the select keeps the division away from 0.
        ratio = trust_coefficient * parameter_norm / ops.select(both, update_norm, ops.ones_like(update_norm))
        ratio = ops.select(both, ratio, ops.ones_like(ratio))
        # A norm that overflows would scale the update to nothing, for good and without a word: NaN is noticed.
        update = update * ops.select(ops.isfinite(update_norm), ratio, ratio * _NAN)
    return _apply_momentum(parameter, moment, lr, update, momentum)


class LARS(nn.Optimizer):
    r"""Layer-wise adaptive rate scaling around momentum SGD.

    .. math::
        u = g + \lambda w, \quad u \leftarrow u \cdot \eta \|w\| / \|u\|, \quad v \leftarrow m v + u, \quad
        w \leftarrow w - lr \cdot v

    The trust ratio is 1 where either norm is 0; the learning rate stays outside the momentum buffer; no Nesterov.
    Excluded parameters take the plain gradient: no weight decay, no ratio. MindSpore's own `nn.LARS` has another
    denominator and does not exclude batch norm.

    Args:
        params (list[Parameter]): What to train.
        learning_rate (Union[float, LearningRateSchedule]): lr.
        momentum (float): m.
        weight_decay (float): :math:`\lambda`.
        trust_coefficient (float): :math:`\eta`.
        exclude (Callable[[str], bool]): Says by its name whether a parameter is excluded.
    """

    def __init__(
        self,
        params,
        learning_rate,
        momentum=0.9,
        weight_decay=1e-6,
        trust_coefficient=1e-3,
        exclude=excluded_from_lars,
    ):
        super().__init__(learning_rate, params)
        self.momentum = Tensor(momentum, ms.float32)
        self.decay = weight_decay
        self.trust_coefficient = trust_coefficient
        self.moments = self._parameters.clone(prefix="moments", init="zeros")
        self.excluded = tuple(exclude(parameter.name) for parameter in self._parameters)

    def construct(self, gradients):
        lr = ops.cast(self.get_lr(), ms.float32)
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        update = ops.partial(_lars_update, lr, self.momentum, self.decay, self.trust_coefficient)
        return self.hyper_map(update, self._parameters, gradients, self.moments, self.excluded)
