"""One optimizer step as compiled graphs without control flow: gradients, accumulation, overflow, optimizer.

What is trained is a network that gives its loss and the scalars to log; what happens after the optimizer (BYOL: the
target moves) is handed in. The host chooses between the graphs: a compiled `if` is refused by Ascend's graph engine.
"""

import numpy as np

import mindspore as ms
from mindspore import Parameter, Tensor, amp, nn, ops

from mindbyol.training.flat import Flat
from mindbyol.training.lars import LARS
from mindbyol.training.loss_scale import PutBack
from mindbyol.training.measures import norm
from mindbyol.training.running_statistics import RunningStatistics, moved_together


def _row(scalars):
    """Numbers as one tensor, (S,): the host fetches one thing a batch, not S."""
    return ops.cat([scalar.reshape(1) for scalar in scalars])


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


class _Gradients(nn.Cell):
    """Forward and backward of one batch.

    Outputs:
        Tuple of the loss and the network's statistics, both the means over the ranks, and of the gradients of the
        scaled loss, those of this rank: as one vector where there is a `Flat` for them.
    """

    def __init__(self, network, parameters, loss_scale, ranks, flat):
        super().__init__(auto_prefix=False)
        self.network = network
        self.loss_scale = loss_scale
        self.ranks = ranks
        self.flat = flat
        if ranks > 1:
            self.mean_over_ranks = MeanOverRanks(ranks)
        self.value_and_grad = ops.value_and_grad(self.scaled_loss, None, parameters, has_aux=True)

    def construct(self, *batch):
        (_, outputs), gradients = self.value_and_grad(*batch)
        if self.ranks > 1:
            outputs = ops.unbind(self.mean_over_ranks(ops.stack(outputs)))
        return outputs, gradients if self.flat is None else self.flat(gradients)

    def scaled_loss(self, *batch):
        loss, statistics = self.network(*batch)
        outputs = (loss,) + statistics
        if self.loss_scale is not None:
            loss = loss * self.loss_scale.value
        return loss, outputs


class _Update(nn.Cell):
    """What is done once an optimizer step: mean over ranks and batches, optimizer, running statistics, `after`.

    A step whose gradients are not finite changes nothing but the loss scale. `LARS` and `RunningStatistics` are told;
    what MindSpore's own optimizers and batch norms have moved is put back.

    Args:
        gradient_norm (Parameter): Takes the norm of the gradients; None for none.

    Inputs:
        The gradients of this rank, added up over the accumulated batches: one vector, or a tuple where `flat` is None.

    Outputs:
        Tuple of the scalars to log: that of `after` (if there is one) and the learning rate, as they were for this
        step, and with a loss scale its value and the overflows so far.
    """

    def __init__(self, network, optimizer, after, accumulation, loss_scale, ranks, gradient_norm):
        super().__init__(auto_prefix=False)
        self.gradient_norm = gradient_norm
        self.optimizer = optimizer
        self.schedule = getattr(optimizer, "schedule", optimizer.learning_rate)
        self.after = after
        self.summed = accumulation * ranks  # gradients that are added up
        self.loss_scale = loss_scale
        self.ranks = ranks
        self.always = Tensor(True)
        self.told = isinstance(optimizer, LARS)  # of overflows
        self.flat = self.optimizer_before = self.running_before = self.running = None
        if self.summed > 1 or loss_scale is not None:
            self.flat = Flat([parameter.shape for parameter in optimizer.parameters])
        if ranks > 1:
            self.all_reduce = ops.AllReduce()
            self.mean_over_ranks = MeanOverRanks(ranks)
        norms = moved_together(network)
        if norms:
            self.running = RunningStatistics(norms, accumulation)
        if loss_scale is not None:
            mine = {id(p) for norm in norms for p in (norm.moving_mean, norm.moving_variance)}
            running = [p for p in network.get_parameters() if "moving_" in p.name and id(p) not in mine]
            self.running_before = PutBack(running) if running else None
            if not self.told:
                moved = {id(p): p for p in (*optimizer.parameters, *optimizer.get_parameters())}
                self.optimizer_before = PutBack(moved.values())

    def construct(self, gradients):
        scalars = self.scalars()
        finite = self.always
        if self.flat is not None:
            gradients = self.mean(gradients)
        noted = self.note_norm(scalars[0], gradients)
        if self.loss_scale is not None:
            finite = self.all_finite(gradients)
            gradients = ops.select(finite, gradients, ops.zeros_like(gradients))
        if self.flat is not None:
            gradients = self.flat.parts(gradients)
        done = ops.depend(noted, self.move(gradients, finite))
        if self.after is not None:
            done = self.after(done, finite)
        if self.loss_scale is None:
            return (ops.depend(scalars[0], done),) + scalars[1:]
        done = ops.depend(done, self.loss_scale(finite))
        return (ops.depend(scalars[0], done),) + scalars[1:] + self.loss_scale.scalars()

    def scalars(self):
        """What is logged of the step to come: the scalar of `after`, if there is one, and the learning rate."""
        step = self.optimizer.global_step
        lr = self.schedule(step)
        if self.after is None:
            return (lr,)
        return self.after.scalar(step), lr

    def mean(self, gradients):
        """The mean of the gradients over ranks and batches, without the loss scale."""
        if self.ranks > 1:
            gradients = self.all_reduce(gradients)
        if self.loss_scale is None:
            return gradients / self.summed
        return gradients * (1.0 / (self.loss_scale.value * self.summed))

    def note_norm(self, scalar, gradients):
        """Keeps the norm of the gradients for whoever asks before the next step; the scalar is handed on."""
        if self.gradient_norm is None:
            return scalar
        gradients = gradients if self.flat is None else (gradients,)
        return ops.depend(scalar, ops.assign(self.gradient_norm, norm(gradients)))

    def move(self, gradients, finite):
        """Moves parameters, optimizer and running statistics; nothing where the gradients are not finite."""
        if self.loss_scale is None:
            done = (self.optimizer(gradients),)
            return done if self.running is None else done + (self.running(),)
        if self.told:
            done = (self.optimizer(gradients, finite),)
        else:
            done = (self.optimizer_before.remember(self.always), self.optimizer(gradients))
        overflow = ops.logical_not(ops.depend(finite, done))
        for kept in (self.optimizer_before, self.running_before):
            if kept is not None:
                done += (kept(overflow),)
        return done if self.running is None else done + (self.running(finite),)

    def remember_running(self, first, where):
        """Keeps the running statistics that the forward pass itself will move; `first` is an input of that."""
        if self.running_before is None:
            return first
        return ops.depend(first, self.running_before.remember(where))

    def all_finite(self, gradients):
        """Whether no gradient overflowed on any rank: one answer for all, or their weights would drift apart.

        The gradients do not tell: where Ascend computes with saturation, an overflow is seen in the status of its own
        device alone.
        """
        finite = amp.all_finite((gradients,))
        if self.ranks > 1:
            finite = self.mean_over_ranks(1.0 - finite.astype(ms.float32)) == 0.0
        return finite


class _Whole(nn.Cell):
    """Gradients and update in one graph."""

    def __init__(self, gradients, update):
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.update = update

    def construct(self, first, *rest):
        first = self.update.remember_running(first, self.update.always)
        outputs, gradients = self.gradients(first, *rest)
        return outputs[0], _row(outputs[1:] + self.update(gradients))


class _Accumulate(nn.Cell):
    """Adds the gradients of one batch to the total; `is_first` marks the first batch of an optimizer step."""

    def __init__(self, gradients, update, total):
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.update = update
        self.total = total

    def construct(self, is_first, first, *rest):
        first = self.update.remember_running(first, is_first)
        outputs, gradients = self.gradients(first, *rest)
        loss = ops.depend(outputs[0], ops.assign_add(self.total, gradients))
        if self.update.running is not None:
            loss = ops.depend(loss, self.update.running.add(is_first))
        scalars = self.update.scalars()
        if self.update.loss_scale is not None:
            scalars += self.update.loss_scale.scalars()
        return loss, _row(outputs[1:] + scalars)


class _UpdateFromTotal(nn.Cell):
    """The update with the gradients added up, which are zero afterwards.

    Inputs:
        The statistics of the last batch, (S,).

    Outputs:
        The same, with the scalars of the update in the place of the last ones.
    """

    def __init__(self, update, total):
        super().__init__(auto_prefix=False)
        self.update = update
        self.total = total

    def construct(self, statistics):
        scalars = self.update(self.total)
        cleared = ops.assign(self.total, ops.zeros_like(self.total))
        states = ops.depend(_row(scalars), cleared)
        return ops.cat((statistics[: -len(scalars)], states))


class TrainOneStep:
    """One batch at a time: forward, backward, and at the end of each optimizer step the update.

    With accumulation the update is made once for `accumulation` calls, with the mean of their gradients; batch
    statistics are those of each call's own batch. The host counts the calls and chooses the graph.

    Args:
        network (Cell): A batch to its loss and a tuple of scalars, which its `statistics` names.
        optimizer (Optimizer): Its learning rate is a schedule, `schedule` where parameters have multiples of it; its
            `global_step` is the one step counter.
        after (Cell): What else moves in a step. `scalar(step)` is what that depends on, with `step` as it was before
            this one was counted; the cell takes the scalar, and whether the step was made; `name` is for the log.
            None where nothing does.
        accumulation (int): Calls an optimizer step.
        loss_scale (LossScale): For float16 networks; None for none.
        ranks (int): Replicas whose gradients and statistics are averaged.
        notes_gradient_norm (bool): Whether each step leaves the norm of its gradients in `gradient_norm`.

    Attributes:
        gradient_norm (Parameter): L2 norm over all parameters of the gradient that the last step took, a scalar; None
            if it is not noted.
        statistics (tuple[str]): Names of the scalars that a call returns: the network's, means over the batch, then
            `states`.
        states (tuple[str]): What the step was made with: the scalar of `after`, the learning rate, the loss scale.
    """

    def __init__(
        self,
        network,
        optimizer,
        after=None,
        accumulation=1,
        loss_scale=None,
        ranks=1,
        notes_gradient_norm=False,
    ):
        self.network = network
        self.optimizer = optimizer
        self.gradient_norm = None
        if notes_gradient_norm:
            self.gradient_norm = Parameter(Tensor(0, ms.float32), name="noted.gradient_norm", requires_grad=False)
        self.loss_scale = loss_scale
        self.accumulation = accumulation
        self.states = (
            ((after.name,) if after is not None else ()) + ("lr",) + (("loss_scale", "overflows") if loss_scale else ())
        )
        self.statistics = network.statistics + self.states
        update = _Update(network, optimizer, after, accumulation, loss_scale, ranks, self.gradient_norm)
        gradients = _Gradients(network, optimizer.parameters, loss_scale, ranks, update.flat)
        self._calls = 0
        if accumulation == 1:
            self._cells = (_Whole(gradients, update),)
        else:
            size = sum(update.flat.sizes)
            self.total = Parameter(Tensor(np.zeros(size), ms.float32), name="accumulated", requires_grad=False)
            self._cells = (_Accumulate(gradients, update, self.total), _UpdateFromTotal(update, self.total))

    def __call__(self, *batch):
        """Takes one batch.

        Args:
            batch (tuple[Tensor]): What the network takes.

        Returns:
            tuple[Tensor, Tensor]: The loss, a scalar, and the numbers that `statistics` names, (S,), both float32.
        """
        if self.accumulation == 1:
            return self._cells[0](*batch)
        accumulate, update = self._cells
        loss, statistics = accumulate(Tensor(self._calls == 0), *batch)
        self._calls = (self._calls + 1) % self.accumulation
        return loss, statistics if self._calls else update(statistics)

    def get_parameters(self):
        """All parameters, each once."""
        found = {id(p): p for cell in (self.network, self.optimizer, *self._cells) for p in cell.get_parameters()}
        return list(found.values())

    def lasting_parameters(self):
        """The state between two optimizer steps: all parameters but those that every step fills anew.

        Returns:
            list[Parameter]: Networks, optimizer, counters and loss scale; the same on all ranks, running statistics
            of batch norms that are not synchronised excepted.
        """
        return [p for p in self.get_parameters() if not p.name.startswith(("accumulated", "before_step", "noted"))]
