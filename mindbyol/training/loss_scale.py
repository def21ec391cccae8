"""The loss scale of float16 networks, and how a step whose gradients overflowed is left out, without control flow."""

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

_copy_where = ops.MultitypeFuncGraph("copy_where")


@_copy_where.register("Tensor", "Tensor", "Tensor")
def _copy_one_where(where, target, source):
    return ops.assign(target, ops.select(where, source, target))


class LossScale(nn.Cell):
    """The factor that keeps float16 gradients away from zero, and what becomes of it after each step.

    Dynamic: halved after an overflow, doubled after `window` steps without one. A step whose gradients are not finite
    is left out and counted.

    Args:
        value (float): The factor to start with.
        dynamic (bool): Whether it changes.
        window (int): Steps without an overflow before it grows; MindCV's 2000.
    """

    def __init__(self, value, dynamic, window=2000):
        super().__init__()
        self.dynamic = dynamic
        self.window = window
        self.value = Parameter(Tensor(value, ms.float32), name="loss_scale", requires_grad=False)
        self.good_steps = Parameter(Tensor(0, ms.int32), name="loss_scale_good_steps", requires_grad=False)
        self.overflows = Parameter(Tensor(0, ms.int32), name="overflows", requires_grad=False)

    def construct(self, finite):
        overflow = 1 - finite.astype(ms.int32)
        counted = ops.assign_add(self.overflows, overflow)
        if self.dynamic:
            good = (self.good_steps + 1) * (1 - overflow)
            grown = ops.select(good == self.window, self.value * 2.0, self.value * 1.0)
            value = ops.select(finite, grown, ops.maximum(self.value / 2.0, 1.0))
            counted = ops.depend(counted, ops.assign(self.value, value))
            counted = ops.depend(counted, ops.assign(self.good_steps, good % self.window))
        return counted

    def scalars(self):
        """Its value and the overflows so far, both float32."""
        return self.value * 1.0, self.overflows.astype(ms.float32)


class PutBack(nn.Cell):
    """Copies of parameters, to go back to after an overflow: of what is moved by who knows nothing of overflows.

    Args:
        parameters (sequence[Parameter]): What is moved.

    Inputs:
        where (Tensor): bool; whether all is to be as it was when `remember` was called.
    """

    def __init__(self, parameters):
        super().__init__(auto_prefix=False)
        self.moved = ParameterTuple(parameters)
        self.before = self.moved.clone(prefix="before_step")
        self.hyper_map = ops.HyperMap()

    def construct(self, where):
        return self.hyper_map(ops.partial(_copy_where, where), self.moved, self.before)

    def remember(self, where):
        """Copies the parameters, where it is true."""
        return self.hyper_map(ops.partial(_copy_where, where), self.before, self.moved)
