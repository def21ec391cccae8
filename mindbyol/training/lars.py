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


_decay = ops.MultitypeFuncGraph("decay")
_adapt = ops.MultitypeFuncGraph("adapt")
_deepmind_move = ops.MultitypeFuncGraph("deepmind_move")
_mmcv_move = ops.MultitypeFuncGraph("mmcv_move")
RULES = {"deepmind": _deepmind_move, "mmcv": _mmcv_move}
_NAN = float("nan")

# v <- momentum v + u, w <- w - rate v in one pass over memory
_apply_momentum = ops.ApplyMomentum()


@_decay.register("Number", "Tensor", "Tensor", "Number")
def _decay_one(weight_decay, parameter, gradient, place):
    if place < 0 or weight_decay == 0:
        return gradient
    return gradient + weight_decay * parameter


@_adapt.register("Tuple", "Tensor", "Number")
def _adapt_one(ratios, update, place):
    if place < 0:
        return update
    return update * ratios[place]


@_deepmind_move.register("Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Number")
def _deepmind_move_one(made, lr, momentum, parameter, update, moment, multiplier):
    return _apply_momentum(parameter, moment, made * _times(lr, multiplier), update, momentum)


@_mmcv_move.register("Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Number")
def _mmcv_move_one(made, lr, momentum, parameter, update, moment, multiplier):
    return _apply_momentum(parameter, moment, made, update * _times(lr, multiplier), momentum)


def _norms(tensors):
    # Flat first: MindSpore's CPU kernel sums one axis twice as fast as four.
    return ops.sqrt(ops.stack([ops.reduce_sum(ops.square(x.reshape(-1)), 0) for x in tensors]))


def _ratio(trust_coefficient, parameter_norm, update_norm):
    """The trust ratios, of vectors of norms; 1 where either norm is 0."""
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

    A step may be left out, without control flow and without copies: with gradients and ratios of 0, a momentum of 1 and
    a rate of 0, v and w stay as they are, to the bit.

    Args:
        params (list[Parameter]): What to train.
        learning_rate (Union[float, LearningRateSchedule]): lr.
        momentum (float): m.
        weight_decay (float): :math:`\lambda`.
        trust_coefficient (float): :math:`\eta`.
        exclude (Callable[[str], bool]): Says by its name whether a parameter is excluded.
        multiplier (Callable[[str], float]): Says by its name what lr is multiplied by for a parameter.
        rule (str): One of `RULES`.

    Inputs:
        Tuple of the gradients, and whether this step is to be made: a bool tensor, or nothing for always. Gradients of
        a step that is left out have to be zeros.
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
        self.adapted = tuple(i for i, excluded in enumerate(self.excluded) if not excluded)
        self.places = tuple(
            -1 if excluded else sum(not e for e in self.excluded[:i]) for i, excluded in enumerate(self.excluded)
        )
        self.rule = rule
        self.move = RULES[rule]

    def construct(self, gradients, finite=None):
        lr = ops.cast(self.get_lr(), ms.float32)
        momentum, trust, made = self.momentum, self.trust_coefficient, ops.ones_like(lr)
        counted = self.global_step_increase_tensor
        if finite is not None:
            made = finite.astype(ms.float32)
            momentum = ops.select(finite, momentum, ops.ones_like(momentum))
            trust = trust * made
            counted = counted * finite.astype(ms.int32)
        self.assignadd(self.global_step, counted)
        updates = self.hyper_map(ops.partial(_decay, self.decay), self._parameters, gradients, self.places)
        if self.adapted:
            updates = self.hyper_map(ops.partial(_adapt, self.ratios(trust, gradients, updates)), updates, self.places)
        move = ops.partial(self.move, made, lr, momentum)
        return self.hyper_map(move, self._parameters, updates, self.moments, self.multipliers)

    def ratios(self, trust_coefficient, gradients, updates):
        """The trust ratios of all parameters that have one, computed side by side: a tuple of scalars."""
        parameter_norms = _norms([self._parameters[i] for i in self.adapted])
        if self.rule == "mmcv":
            gradient_norms = _norms([gradients[i] for i in self.adapted])
            norms = gradient_norms + self.decay * parameter_norms + 1e-8
            norms = ops.select(gradient_norms > 0, norms, ops.zeros_like(norms))
        else:
            norms = _norms([updates[i] for i in self.adapted])
        return ops.unbind(_ratio(trust_coefficient, parameter_norms, norms))
