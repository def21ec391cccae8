"""One training step as one graph: gradients, optimizer, target update (BYOL, algorithm 1)."""

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, amp, nn, ops

from mindbyol.schedules import target_tau

_move_target = ops.MultitypeFuncGraph("move_target")
_add_gradient = ops.MultitypeFuncGraph("add_gradient")
_clear = ops.MultitypeFuncGraph("clear")
_scale_gradient = ops.MultitypeFuncGraph("scale_gradient")
_copy = ops.MultitypeFuncGraph("copy")


# target <- target - (1 - tau) (target - online), in one pass over memory
_apply_difference = ops.ApplyGradientDescent()


@_move_target.register("Tensor", "Tensor", "Tensor")
def _move_one(tau, target, online):
    return _apply_difference(target, 1.0 - tau, target - online)


@_add_gradient.register("Tensor", "Tensor")
def _add_one(total, gradient):
    return ops.assign_add(total, gradient)


@_clear.register("Tensor")
def _clear_one(total):
    return ops.assign(total, ops.zeros_like(total))


@_scale_gradient.register("Tensor", "Tensor")
def _scale_one(factor, gradient):
    return gradient * factor


@_copy.register("Tensor", "Tensor")
def _copy_one(target, source):
    return ops.assign(target, source)


class MeanOverRanks(nn.Cell):
    """The mean of a float32 tensor over all replicas.

    Args:
        ranks (int): How many there are.
    """

    def __init__(self, ranks):
        super().__init__()
        self.ranks = ranks
        self.all_reduce = ops.AllReduce()

    def construct(self, x):
        return self.all_reduce(x) / self.ranks


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


class BYOLTrainOneStep(nn.Cell):
    """theta <- optimizer(theta, gradient), then xi <- tau xi + (1 - tau) theta.

    The order is DeepMind's: the target moves towards the *new* online parameters, with tau taken at the number of the
    step before it is incremented. With accumulation all of this happens once for `accumulation` calls, with the mean
    of their gradients; batch statistics are those of each call's own batch.

    With a loss scale, a step whose gradients are not finite changes nothing: parameters, optimizer, target and step
    counter stay, and the running statistics, which the forward pass moves, are put back.

    Args:
        network (BYOL): The loss.
        optimizer (Optimizer): Over `network.trainable_params()`, its learning rate a schedule; its `global_step` is
            the one step counter.
        base_tau (float): tau at step 0.
        total_steps (int): Optimizer steps of the whole run.
        accumulation (int): Calls an optimizer step.
        loss_scale (LossScale): For float16 networks; None for none.
        ranks (int): Replicas whose gradients and statistics are averaged.

    Inputs:
        Those of `network`.

    Outputs:
        Tuple of the total loss and the scalars that `statistics` names: those of `network`, the tau and learning rate
        of this step, and with a loss scale its value and the number of overflows so far.
    """

    def __init__(self, network, optimizer, base_tau, total_steps, accumulation=1, loss_scale=None, ranks=1):
        super().__init__(auto_prefix=False)
        self.network = network
        self.optimizer = optimizer
        self.statistics = network.statistics + ("tau", "lr") + (("loss_scale", "overflows") if loss_scale else ())
        self.base_tau = base_tau
        self.total_steps = total_steps
        self.accumulation = accumulation
        self.loss_scale = loss_scale
        self.ranks = ranks
        target, online = network.target_pairs()
        self.target_parameters = ParameterTuple(target)
        self.online_parameters = ParameterTuple(online)
        self.hyper_map = ops.HyperMap()
        self.value_and_grad = ops.value_and_grad(self.scaled_loss, None, optimizer.parameters, has_aux=True)
        if ranks > 1:
            self.mean_gradient = nn.DistributedGradReducer(optimizer.parameters, True, ranks)
            self.mean_over_ranks = network.mean_over_ranks = MeanOverRanks(ranks)
        if loss_scale is not None:
            self.running = ParameterTuple(p for p in network.get_parameters() if "moving_" in p.name)
            self.running_before = self.running.clone(prefix="before_step")
        if accumulation > 1:
            self.totals = optimizer.parameters.clone(prefix="accumulated", init="zeros")
            self.calls = Parameter(Tensor(0, ms.int32), name="accumulated_calls", requires_grad=False)

    def lasting_parameters(self):
        """The state between two steps: all parameters but those that every step fills anew.

        Returns:
            list[Parameter]: Networks, optimizer, counters and loss scale; the same on all ranks, running statistics
            of batch norms that are not synchronised excepted.
        """
        return [p for p in self.get_parameters() if not p.name.startswith(("accumulated", "before_step"))]

    def construct(self, *batch):
        tau = target_tau(self.optimizer.global_step, self.base_tau, self.total_steps)
        lr = self.optimizer.learning_rate(self.optimizer.global_step)
        if self.loss_scale is not None:
            self.remember_running()
        (_, outputs), gradients = self.value_and_grad(*batch)
        if self.ranks > 1:
            outputs = ops.unbind(self.mean_over_ranks(ops.stack(outputs)))
        if self.accumulation == 1:
            done = self.update(gradients, tau)
        else:
            done = self.accumulate(gradients, tau)
        loss = ops.depend(outputs[0], done)
        statistics = outputs[1:] + (tau, lr)
        if self.loss_scale is not None:
            statistics += (self.loss_scale.value * 1.0, self.loss_scale.overflows.astype(ms.float32))
        return loss, statistics

    def scaled_loss(self, *batch):
        loss, statistics = self.network(*batch)
        outputs = (loss,) + statistics
        if self.loss_scale is not None:
            loss = loss * self.loss_scale.value
        return loss, outputs

    def remember_running(self):
        if self.accumulation == 1:
            self.hyper_map(_copy, self.running_before, self.running)
        elif self.calls == 0:
            self.hyper_map(_copy, self.running_before, self.running)

    def accumulate(self, gradients, tau):
        added = self.hyper_map(_add_gradient, self.totals, gradients)
        calls = ops.depend(self.calls + 1, added)
        if calls == self.accumulation:
            self.update(self.totals, tau)
            self.hyper_map(_clear, self.totals)
        return ops.assign(self.calls, calls % self.accumulation)

    def update(self, gradients, tau):
        if self.ranks > 1:
            gradients = self.mean_gradient(gradients)
        if self.loss_scale is None:
            if self.accumulation > 1:
                factor = ops.ones_like(tau) / self.accumulation
                gradients = self.hyper_map(ops.partial(_scale_gradient, factor), gradients)
            return self.move(gradients, tau)
        factor = 1.0 / (self.loss_scale.value * self.accumulation)
        gradients = self.hyper_map(ops.partial(_scale_gradient, factor), gradients)
        finite = amp.all_finite(gradients)
        if finite:
            self.move(gradients, tau)
        else:
            self.hyper_map(_copy, self.running, self.running_before)
        return self.loss_scale(finite)

    def move(self, gradients, tau):
        moved = self.optimizer(gradients)
        tau = ops.depend(tau, moved)
        self.hyper_map(ops.partial(_move_target, tau), self.target_parameters, self.online_parameters)
        return tau
