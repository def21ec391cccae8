"""Bootstrap Your Own Latent (Grill et al. 2020, arXiv 2006.07733): the loss, the two networks, how the target moves."""

import numpy as np

import mindspore as ms
from mindspore import ParameterTuple, Tensor, nn, ops

from mindbyol.training.batch_norm import interleave, separate, separate_views
from mindbyol.training.schedules import target_tau
from mindbyol.training.step import MeanOverRanks, TrainOneStep

_move_target = ops.MultitypeFuncGraph("move_target")
# target <- target - (1 - tau) (target - online), in one pass over memory
_apply_difference = ops.ApplyGradientDescent()


@_move_target.register("Tensor", "Tensor", "Tensor")
def _move_one(tau, target, online):
    return _apply_difference(target, 1.0 - tau, target - online)


def l2_normalize(x, epsilon=1e-12):
    """x / |x| along the last axis, computed in float32.

    `epsilon` bounds the *squared* norm from below, as DeepMind has it: a norm under 1e-6 counts as 1e-6.

    Args:
        x (Tensor): (..., D), any float type.

    Returns:
        Tensor: float32, shape of `x`.
    """
    x = x.astype(ms.float32)
    return x * ops.rsqrt(ops.maximum(ops.reduce_sum(ops.square(x), -1).expand_dims(-1), epsilon))


def regression_loss(prediction, projection):
    """Squared distance of the normalised vectors, 2 - 2 cos(prediction, projection) (equation 2).

    Args:
        prediction (Tensor): (N, D), q(z) of the online network.
        projection (Tensor): (N, D), z' of the target network for the other view.

    Returns:
        Tensor: (N,), float32, in [0, 4].
    """
    return ops.reduce_sum(ops.square(l2_normalize(prediction) - l2_normalize(projection)), -1)


def byol_loss(prediction_1, prediction_2, target_projection_1, target_projection_2):
    """Both directions, added and not averaged, then the mean over the batch (section 3.1).

    The sum and the factor 2 inside each term matter: LARS leaves biases and batch norms out, and those see the
    gradient at its full size.

    Args:
        prediction_1, prediction_2 (Tensor): (N, D), online predictions of the two views.
        target_projection_1, target_projection_2 (Tensor): (N, D), target projections; no gradient flows into them.

    Returns:
        Tensor: scalar, float32, in [0, 8].
    """
    loss_1 = regression_loss(prediction_1, ops.stop_gradient(target_projection_2))
    loss_2 = regression_loss(prediction_2, ops.stop_gradient(target_projection_1))
    return ops.reduce_mean(loss_1 + loss_2)


def projection_std(projection, mean_over_ranks=None):
    """Standard deviation over the batch of the normalised projections, averaged over their D coordinates.

    Projections spread evenly over the sphere give about 1 / sqrt(D); a collapsed network gives 0.

    Args:
        projection (Tensor): (N, D).
        mean_over_ranks (Callable[[Tensor], Tensor]): Makes the batch that of all replicas; None where there is one.

    Returns:
        Tensor: scalar, float32.
    """
    z = l2_normalize(ops.stop_gradient(projection))
    mean = ops.reduce_mean(z, 0)
    if mean_over_ranks is not None:
        mean = mean_over_ranks(mean)
    variance = ops.reduce_mean(ops.square(z - mean), 0)
    if mean_over_ranks is not None:
        variance = mean_over_ranks(variance)
    return ops.reduce_mean(ops.sqrt(variance))


class Normalize(nn.Cell):
    """uint8 images to (x - mean) / std in float32, the first operation of the graph.

    Args:
        mean, std (sequence[float]): One number a channel, on the 0-255 scale, as in MindCV's recipes.

    Inputs:
        Tensor (N, C, H, W), uint8 or float on the 0-255 scale.
    """

    def __init__(self, mean, std):
        super().__init__()
        # Shaped by NumPy: Tensor.reshape would be an operator on the device before there is a graph.
        self.mean = Tensor(np.reshape(mean, (1, -1, 1, 1)), ms.float32)
        self.std = Tensor(np.reshape(std, (1, -1, 1, 1)), ms.float32)

    def construct(self, images):
        return (images.astype(ms.float32) - self.mean) / self.std


class Encoder(nn.Cell):
    """f and g: a backbone and the projector on top of it.

    Args:
        backbone (Cell): (N, C, H, W) to the representation y, (N, F).
        projector (Cell): y to the projection z, (N, D).

    Outputs:
        Tuple of y and z.
    """

    def __init__(self, backbone, projector):
        super().__init__()
        self.backbone = backbone
        self.projector = projector

    def construct(self, x):
        representation = self.backbone(x)
        return representation, self.projector(representation)


class BYOL(nn.Cell):
    """The loss of one batch of view pairs.

    Both views pass through a network as one batch, in which batch norms keep them apart: statistics are those of one
    view, and running ones move once for each. The target is a
    twin with its own parameters: it normalises with its own batch statistics (it is in train mode), gets no gradient
    and is moved by `MoveTarget` alone. Parameters are named `online.backbone...`,
    `online.projector...`, `predictor...`, `target.backbone...`, `target.projector...` and `probe...`.

    Args:
        online (Encoder): f and g with parameters theta.
        predictor (Cell): q, on the online side only.
        target (Encoder): f and g with parameters xi.
        normalize (Cell): Applied to the views first.
        probe (Cell): Linear classifier on the representation of view 1, trained beside BYOL and cut off from it, to
            watch the representation while it grows; None without labels.

    Attributes:
        mean_over_ranks (Cell): Set where several replicas train, for `projection_std` of the global batch.

    Inputs:
        view_1, view_2 (Tensor): (N, C, H, W), what `normalize` takes.
        label (Tensor): (N,), int32; only with a probe.

    Outputs:
        Tuple of the total loss (scalar, to be differentiated) and the scalars to log, in the order of `statistics`:
        the BYOL loss, `projection_std`, and with a probe its loss and its accuracy in [0, 1].
    """

    def __init__(self, online, predictor, target, normalize, probe=None):
        super().__init__()
        self.online = online
        self.predictor = predictor
        self.target = target
        self.normalize = normalize
        self.probe = probe
        self.mean_over_ranks = None
        self.statistics = ("byol_loss", "projection_std") + (("probe_loss", "probe_accuracy") if probe else ())
        for parameter in target.get_parameters():
            parameter.requires_grad = False
        separate_views(self)

    def construct(self, view_1, view_2, label=None):
        views = self.normalize(interleave(view_1, view_2))

        representation, projection = self.online(views)
        prediction_1, prediction_2 = separate(self.predictor(projection))
        target_projection_1, target_projection_2 = separate(self.target(views)[1])

        loss = byol_loss(prediction_1, prediction_2, target_projection_1, target_projection_2)
        statistics = (loss, projection_std(separate(projection)[0], self.mean_over_ranks))
        if self.probe is not None:
            logits = self.probe(ops.stop_gradient(separate(representation)[0])).astype(ms.float32)
            probe_loss = ops.cross_entropy(logits, label)
            accuracy = ops.reduce_mean((ops.argmax(logits, -1) == label).astype(ms.float32))
            loss = loss + probe_loss
            statistics += (probe_loss, accuracy)
        return loss, statistics

    def half_precision_cells(self):
        """The cells that mixed precision may touch: backbones, projectors and predictor; never the loss.

        Returns:
            list[tuple[Cell, str]]: Each as the cell that holds it and its name there.
        """
        encoders = [(encoder, part) for encoder in (self.online, self.target) for part in ("backbone", "projector")]
        return encoders + [(self, "predictor")]

    def target_pairs(self):
        """The parameters that the target follows: weights, biases, gamma and beta, never running statistics.

        Returns:
            tuple[tuple[Parameter], tuple[Parameter]]: Target parameters and, in the same order, online parameters.
        """
        online = {p.name.split(".", 1)[1]: p for p in self.online.trainable_params()}
        target = {p.name.split(".", 1)[1]: p for p in self.target.get_parameters()}
        return tuple(target[name] for name in online), tuple(online.values())


class MoveTarget(nn.Cell):
    """xi <- tau xi + (1 - tau) theta, after each optimizer step (section 3.3).

    The order is DeepMind's: the target moves towards the *new* online parameters, with tau taken at the number of the
    step before it is counted.

    Args:
        network (BYOL): The two networks.
        base_tau (float): tau at step 0.
        total_steps (int): Optimizer steps of the whole run.

    Inputs:
        tau (Tensor): `scalar(step)`.
        finite (Tensor): bool; whether this step was made. If not, the target stays, to the bit.

    Outputs:
        Tuple of the target's parameters.
    """

    name = "tau"

    def __init__(self, network, base_tau, total_steps):
        super().__init__(auto_prefix=False)
        self.base_tau = base_tau
        self.total_steps = total_steps
        target, online = network.target_pairs()
        self.target_parameters = ParameterTuple(target)
        self.online_parameters = ParameterTuple(online)
        self.hyper_map = ops.HyperMap()

    def scalar(self, step):
        """tau, from the number of steps before this one."""
        return target_tau(step, self.base_tau, self.total_steps)

    def construct(self, tau, finite):
        tau = ops.select(finite, tau, ops.ones_like(tau))
        return self.hyper_map(ops.partial(_move_target, tau), self.target_parameters, self.online_parameters)


class BYOLTrainOneStep(TrainOneStep):
    """theta <- optimizer(theta, gradient), then xi <- tau xi + (1 - tau) theta (algorithm 1).

    Args:
        network (BYOL): The loss.
        optimizer, accumulation, loss_scale, ranks, notes_gradient_norm: See `TrainOneStep`; the optimizer is over
            `network.trainable_params()`, which the target is not among.
        base_tau, total_steps: See `MoveTarget`.
    """

    def __init__(
        self,
        network,
        optimizer,
        base_tau,
        total_steps,
        accumulation=1,
        loss_scale=None,
        ranks=1,
        notes_gradient_norm=False,
    ):
        if ranks > 1:
            network.mean_over_ranks = MeanOverRanks(ranks)
        move_target = MoveTarget(network, base_tau, total_steps)
        super().__init__(network, optimizer, move_target, accumulation, loss_scale, ranks, notes_gradient_norm)
