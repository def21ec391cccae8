"""LARS (You et al. 2017) by two rules: as DeepMind trains BYOL with it, and as mmcv has it."""

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
_mmcv_update = ops.MultitypeFuncGraph("mmcv_lars_update")
RULES = {"deepmind": _lars_update, "mmcv": _mmcv_update}
_NAN = float("nan")

# v <- momentum v + u, w <- w - lr v in one pass over memory
_apply_momentum = ops.ApplyMomentum()


def _norm(x):
    # Flat first: MindSpore's CPU kernel sums one axis twice as fast as four.
    return ops.sqrt(ops.reduce_sum(ops.square(x.reshape(-1)), 0))


@_lars_update.register("Tensor", "Tensor", "Number", "Number", "Tensor", "Tensor", "Tensor", "Bool", "Number")
def _update_one(lr, momentum, weight_decay, trust_coefficient, parameter, gradient, moment, excluded, multiplier):
    update = gradient
    if not excluded:
        if weight_decay > 0:
            update = update + weight_decay * parameter
        update = update * _ratio(trust_coefficient, _norm(parameter), _norm(update))
    return _apply_momentum(parameter, moment, _times(lr, multiplier), update, momentum)


@_mmcv_update.register("Tensor", "Tensor", "Number", "Number", "Tensor", "Tensor", "Tensor", "Bool", "Number")
def _mmcv_update_one(lr, momentum, weight_decay, trust_coefficient, parameter, gradient, moment, excluded, multiplier):
    update = gradient
    if not excluded:
        parameter_norm, gradient_norm = _norm(parameter), _norm(gradient)
        denominator = gradient_norm + weight_decay * parameter_norm + 1e-8
        denominator = ops.select(gradient_norm > 0, denominator, ops.zeros_like(denominator))
        if weight_decay > 0:
            update = update + weight_decay * parameter
        update = update * _ratio(trust_coefficient, parameter_norm, denominator)
    return _apply_momentum(parameter, moment, ops.ones_like(lr), update * _times(lr, multiplier), momentum)


def _ratio(trust_coefficient, parameter_norm, update_norm):
    """The trust ratio; 1 where either norm is 0."""
    both = ops.logical_and(parameter_norm > 0, update_norm > 0)
    # No epsilon: where a norm is zero the ratio is 1, and the select keeps the division away from 0.
    ratio = trust_coefficient * parameter_norm / ops.select(both, update_norm, ops.ones_like(update_norm))
    ratio = ops.select(both, ratio, ops.ones_like(ratio))
    # A norm that overflows would scale the update to nothing, for good and without a word: NaN is noticed.
    return ops.select(ops.isfinite(update_norm), ratio, ratio * _NAN)


def _times(lr, multiplier):
    if multiplier == 1:
        return lr
    return lr * multiplier


def nothing_excluded(name):
    """Of protocols in which biases and norms are treated as all other parameters."""
    return False


def same_rate(name):
    """One learning rate for all."""
    return 1.0


class LARS(nn.Optimizer):
    r"""Layer-wise adaptive rate scaling around momentum SGD.

    DeepMind's rule, with which it trains BYOL (byol `utils/optimizers.py`):

    .. math::
        u = g + \lambda w, \quad u \leftarrow u \cdot \eta \|w\| / \|u\|, \quad v \leftarrow m v + u, \quad
        w \leftarrow w - lr \cdot v

    mmcv's rule, with which mmselfsup trains a linear classifier (mmselfsup `optimizer/optimizers.py`); it has another
    denominator, and the learning rate goes into the momentum buffer, which matters while it changes:

    .. math::
        u = (g + \lambda w) \cdot \eta \|w\| / (\|g\| + \lambda \|w\| + 10^{-8}), \quad v \leftarrow m v + lr \cdot u,
        \quad w \leftarrow w - v

    The trust ratio is 1 where either norm is 0; no Nesterov. Excluded parameters take the plain gradient: no weight
    decay, no ratio. MindSpore's own `nn.LARS` does not exclude batch norm, and has a trust ratio of 0 for weights of 0.

    Args:
        params (list[Parameter]): What to train.
        learning_rate (Union[float, LearningRateSchedule]): lr.
        momentum (float): m.
        weight_decay (float): :math:`\lambda`.
        trust_coefficient (float): :math:`\eta`.
        exclude (Callable[[str], bool]): Says by its name whether a parameter is excluded.
        multiplier (Callable[[str], float]): Says by its name what lr is multiplied by for a parameter.
        rule (str): One of `RULES`.
    """

    def __init__(
        self,
        params,
        learning_rate,
        momentum=0.9,
        weight_decay=1e-6,
        trust_coefficient=1e-3,
        exclude=excluded_from_lars,
        multiplier=same_rate,
        rule="deepmind",
    ):
        super().__init__(learning_rate, params)
        self.momentum = Tensor(momentum, ms.float32)
        self.decay = weight_decay
        self.trust_coefficient = trust_coefficient
        self.moments = self._parameters.clone(prefix="moments", init="zeros")
        self.excluded = tuple(exclude(parameter.name) for parameter in self._parameters)
        self.multipliers = tuple(multiplier(parameter.name) for parameter in self._parameters)
        self.update = RULES[rule]

    def construct(self, gradients):
        lr = ops.cast(self.get_lr(), ms.float32)
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        update = ops.partial(self.update, lr, self.momentum, self.decay, self.trust_coefficient)
        return self.hyper_map(update, self._parameters, gradients, self.moments, self.excluded, self.multipliers)
