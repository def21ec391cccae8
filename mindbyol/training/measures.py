"""Sizes that a log line wants of the step before it: of the gradient, of the update, of how far the target is away.

They take norms over all parameters, which is too much for every step: graphs of their own compute them, once a line.
The gradient alone is gone when a step has ended; the step notes its norm, see `step.TrainOneStep`.
"""

from mindspore import ParameterTuple, nn, ops

_copy = ops.MultitypeFuncGraph("copy_before")
_sum_of_squares = ops.MultitypeFuncGraph("sum_of_squares")
_squared_distance = ops.MultitypeFuncGraph("squared_distance")


@_copy.register("Tensor", "Tensor")
def _copy_one(before, parameter):
    return ops.assign(before, parameter)


@_sum_of_squares.register("Tensor")
def _sum_of_squares_of_one(x):
    # Not L2Loss: on the CPU it adds up in one float32 and loses 0.3% of a sum of five million.
    return ops.reduce_sum(ops.square(x.reshape(-1)), 0)


@_squared_distance.register("Tensor", "Tensor")
def _squared_distance_of_one(x, y):
    return _sum_of_squares_of_one(x - y)


def norm(tensors):
    """The L2 norm of several tensors as one vector: a scalar, in graphs.

    Args:
        tensors (tuple[Tensor]): float32, of any shapes.
    """
    return ops.sqrt(ops.addn(ops.HyperMap()(_sum_of_squares, tensors)))


def distance(tensors, others):
    """The L2 norm of the differences of several tensors, pair by pair, as one vector."""
    return ops.sqrt(ops.addn(ops.HyperMap()(_squared_distance, tensors, others)))


class _Remember(nn.Cell):
    def __init__(self, parameters, before):
        super().__init__(auto_prefix=False)
        self.parameters = parameters
        self.before = before
        self.hyper_map = ops.HyperMap()

    def construct(self):
        return self.hyper_map(_copy, self.before, self.parameters)


class _Measure(nn.Cell):
    def __init__(self, parameters, before, targets, onlines):
        super().__init__(auto_prefix=False)
        self.parameters = parameters
        self.before = before
        self.targets = targets
        self.onlines = onlines

    def construct(self):
        update = distance(self.parameters, self.before)
        lag = distance(self.targets, self.onlines) / norm(self.onlines)
        return ops.stack((update, lag))


class Measures:
    """What a log line of BYOL says of the last step before it.

    `gradient_norm`: L2 norm of the gradient of all trained parameters, as the optimizer got it: without the loss scale,
    the mean over accumulated batches and ranks. `update_norm`: L2 norm of what the step changed of them.
    `target_distance`: L2 norm of the difference of target and online parameters, as a share of the online ones' norm.

    Args:
        step (BYOLTrainOneStep): Where it does not note the norm of its gradients, none is said.
    """

    def __init__(self, step):
        parameters = step.optimizer.parameters
        before = parameters.clone(prefix="before_line")
        targets, onlines = (ParameterTuple(of_one) for of_one in step.network.target_pairs())
        self._gradient_norm = step.gradient_norm
        self._remember = _Remember(parameters, before)
        self._measure = _Measure(parameters, before, targets, onlines)

    def before_step(self):
        """To be called when the step to come is one to be measured, before it is made."""
        self._remember()

    def after_step(self):
        """What there is to say of the step that was just made.

        Returns:
            dict[str, float]: By name. Of gradients that overflowed the norm is not finite.
        """
        update, lag = self._measure().asnumpy().tolist()
        found = {"update_norm": update, "target_distance": lag}
        if self._gradient_norm is not None:
            found["gradient_norm"] = float(self._gradient_norm.asnumpy())
        return found
