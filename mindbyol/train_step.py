"""One training step as one graph: gradients, optimizer, target update (BYOL, algorithm 1)."""

from mindspore import ParameterTuple, nn, ops

from mindbyol.schedules import target_tau

_move_target = ops.MultitypeFuncGraph("move_target")


@_move_target.register("Tensor", "Tensor", "Tensor")
def _move_one(tau, target, online):
    return ops.assign(target, tau * target + (1.0 - tau) * online)


class BYOLTrainOneStep(nn.Cell):
    """theta <- optimizer(theta, gradient), then xi <- tau xi + (1 - tau) theta.

    The order is DeepMind's: the target moves towards the *new* online parameters, with tau taken at the number of the
    step before it is incremented.

    Args:
        network (BYOL): The loss.
        optimizer (Optimizer): Over `network.trainable_params()`, its learning rate a schedule; its `global_step` is
            the one step counter.
        base_tau (float): tau at step 0.
        total_steps (int): Optimizer steps of the whole run.

    Inputs:
        Those of `network`.

    Outputs:
        Tuple of the total loss and the scalars that `statistics` names: those of `network`, and the tau and learning
        rate of this step.
    """

    def __init__(self, network, optimizer, base_tau, total_steps):
        super().__init__(auto_prefix=False)
        self.network = network
        self.optimizer = optimizer
        self.statistics = network.statistics + ("tau", "lr")
        self.base_tau = base_tau
        self.total_steps = total_steps
        self.value_and_grad = ops.value_and_grad(network, None, optimizer.parameters, has_aux=True)
        target, online = network.target_pairs()
        self.target_parameters = ParameterTuple(target)
        self.online_parameters = ParameterTuple(online)
        self.hyper_map = ops.HyperMap()

    def construct(self, *batch):
        tau = target_tau(self.optimizer.global_step, self.base_tau, self.total_steps)
        lr = self.optimizer.learning_rate(self.optimizer.global_step)
        (loss, statistics), gradients = self.value_and_grad(*batch)
        loss = ops.depend(loss, self.optimizer(gradients))
        moved = self.hyper_map(ops.partial(_move_target, tau), self.target_parameters, self.online_parameters)
        return ops.depend(loss, moved), statistics + (tau, lr)
