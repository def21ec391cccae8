"""From a recipe to the network, the optimizer and the training step."""

import logging
import math

from mindspore import nn

from mindbyol import checkpoint, schedules
from mindbyol.backbones import create_backbone
from mindbyol.batch_norm import synchronize
from mindbyol.byol import BYOL, BYOLTrainOneStep, Encoder, Normalize
from mindbyol.heads import MLP, dense
from mindbyol.lars import LARS, excluded_from_lars
from mindbyol.precision import set_precision
from mindbyol.train_step import LossScale
from mindbyol.values import LARGEST_INT
from mindbyol.weights import read_weights

logger = logging.getLogger(__name__)


class Plan:
    """The arithmetic of a run, done once, before anything is built.

    Args:
        args (Namespace): The recipe.
        num_images (int): Images of the training split.
        ranks (int): Devices that train together.

    Attributes:
        accumulation (int): Batches an optimizer step.
        effective_batch (int): Images an optimizer step, over all devices and accumulated batches.
        steps_per_epoch (int): Optimizer steps an epoch; the remainder of the images is left out.
        total_steps (int): Of the whole run.
        warmup_steps (int): Steps of linear warm-up.
        peak_lr (float): Learning rate at the end of the warm-up.

    Raises:
        ValueError: There are fewer images than one step takes, more steps than int32 counts, the warm-up outlasts the
            run, the rate at the end is above the peak, or the effective batch is no multiple of what the devices take
            at a time.
    """

    def __init__(self, args, num_images, ranks=1):
        self.accumulation = args.gradient_accumulation_steps
        if self.accumulation == "auto":
            self.accumulation = self._accumulation(args, ranks)
        self.effective_batch = args.batch_size * ranks * self.accumulation
        if args.effective_batch not in (None, self.effective_batch):
            raise ValueError(
                f"effective_batch: {args.effective_batch} asked for, but gradient_accumulation_steps "
                f"{args.gradient_accumulation_steps} gives {self.effective_batch}; 'auto' gives what is asked for"
            )
        if args.warmup_epochs >= args.epoch_size:
            raise ValueError(f"warmup_epochs: {args.warmup_epochs} epochs of warm-up in a run of {args.epoch_size}")
        self.factors = f"{args.batch_size} a device x {ranks} devices x {self.accumulation} accumulated"
        self.steps_per_epoch = num_images // self.effective_batch
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"batch_size: a step takes {self.effective_batch} images ({self.factors}), "
                f"the training split has {num_images}"
            )
        self.total_steps = args.epoch_size * self.steps_per_epoch
        if self.total_steps > LARGEST_INT:
            raise ValueError(
                f"epoch_size: {args.epoch_size} epochs of {self.steps_per_epoch} steps are {self.total_steps} steps, "
                f"and steps are counted in int32, up to {LARGEST_INT}"
            )
        self.warmup_steps = math.floor(args.warmup_epochs * num_images / self.effective_batch)
        if self.warmup_steps >= self.total_steps:
            raise ValueError(f"warmup_epochs: {args.warmup_epochs} epochs of warm-up in a run of {args.epoch_size}")
        self.peak_lr = (
            schedules.scaled_learning_rate(args.base_lr, self.effective_batch) if args.lr is None else args.lr
        )
        if args.min_lr > self.peak_lr:
            raise ValueError(
                f"min_lr: {args.min_lr:g}, the rate at the end, is above the peak of {self.peak_lr:g}: "
                "the rate would rise where it is to decay"
            )

    @staticmethod
    def _accumulation(args, ranks):
        if args.effective_batch is None:
            raise ValueError("gradient_accumulation_steps: auto needs effective_batch, the images an optimizer step")
        steps, rest = divmod(args.effective_batch, args.batch_size * ranks)
        if rest or not steps:
            raise ValueError(
                f"effective_batch: {args.effective_batch} is no multiple of {args.batch_size * ranks}, "
                f"which {ranks} devices of batch_size {args.batch_size} take at a time"
            )
        return steps


def create_byol(args, num_classes=None):
    """The BYOL cell of a recipe.

    Args:
        args (Namespace): The recipe.
        num_classes (int): Classes of the online probe; None for no probe.

    Returns:
        BYOL: In train mode; target and online are initialised independently, as DeepMind's are.
    """

    def encoder():
        backbone = create_backbone(args.model, args.stem, args.padding, args.image_resize, args.stages)
        projector = MLP(backbone.num_features, args.projector_hidden_size, args.projection_size)
        return Encoder(backbone, projector)

    online, target = encoder(), encoder()
    predictor = MLP(args.projection_size, args.predictor_hidden_size, args.projection_size)
    probe = dense(online.backbone.num_features, num_classes) if num_classes else None
    return BYOL(online, predictor, target, Normalize(args.mean, args.std), probe).set_train()


def read_start(args):
    """The weights that a recipe starts from, `ckpt_path` or `pretrained_from`: a file of any known project.

    Args:
        args (Namespace): The recipe.

    Returns:
        Weights or None: `arrays`, named `online.backbone...` and, if the file has them, `online.projector...`,
        `predictor...` and `target...`, and `card`, whose padding the network must have; None when the recipe names no
        weights.

    Raises:
        FileNotFoundError, ValueError: The file is not there, no checkpoint, of another model, or holds values that are
            not finite.
    """
    if args.ckpt_path and args.pretrained_from:
        raise ValueError("pretrained_from: ckpt_path names weights to start from already; drop one of the two")
    path = args.pretrained_from or args.ckpt_path
    if not path:
        return None
    weights = read_weights(path, model=args.model)
    logger.info("\n  ".join([f"{path}: {weights.found}", *weights.report]))
    return weights


def start_from(network, arrays, source):
    """Loads what there is of online backbone, projector, predictor and target.

    The backbone must fit; stages that it leaves out are left out of the weights, too. A head that is missing or of
    other sizes stays as initialised; a target that is missing starts as a copy of the online backbone.

    Args:
        network (BYOL): What to load into, before `create_train_step`.
        arrays (dict[str, ndarray]): Those of `read_start`.
        source (str): What to call them in messages.

    Raises:
        ValueError: The backbone does not fit.
    """
    dropped = network.online.backbone.dropped
    left_out = tuple(f"{part}.backbone.{child}." for part in ("online", "target") for child in dropped)
    arrays = {name: array for name, array in arrays.items() if not name.startswith(left_out)}
    if not any(name.startswith("target.backbone.") for name in arrays):
        online = {name: array for name, array in arrays.items() if name.startswith("online.backbone.")}
        arrays.update({name.replace("online", "target", 1): array for name, array in online.items()})
    for part in ("online.backbone.", "online.projector.", "predictor.", "target.backbone.", "target.projector."):
        parameters = {p.name: p for p in network.get_parameters() if p.name.startswith(part)}
        given = {name: array for name, array in arrays.items() if name.startswith(part)}
        try:
            count = checkpoint.load_parameters(parameters, given, source)
            logger.info(f"starting from {source}: {part[:-1]} {count}/{count} loaded, 0 missing, 0 unexpected")
        except ValueError:
            if "backbone" in part:
                raise
            why = "of another shape" if given else "not in the file"
            logger.info(f"starting from {source}: {part[:-1]} is {why}, it stays as initialised")


def create_optimizer(args, network, plan):
    """LARS, or MindSpore's SGD or AdamW, over what is trainable: the target is not.

    Args:
        args (Namespace): The recipe.
        network (BYOL): What to train.
        plan (Plan): Peak and length of the learning rate's schedule.
    """
    schedule = schedules.WarmupCosine(plan.peak_lr, plan.warmup_steps, plan.total_steps, args.min_lr)
    parameters = network.trainable_params()
    if args.opt == "lars":
        return LARS(parameters, schedule, args.momentum, args.weight_decay, args.trust_coefficient)
    if args.opt == "adamw" and plan.peak_lr > 0.01:
        logger.warning(
            f"adamw with a peak learning rate of {plan.peak_lr:.4g}: rates of this size are meant for lars and "
            "collapse adamw; try --lr 0.001"
        )
    decayed = [p for p in parameters if not excluded_from_lars(p.name)]
    excluded = [p for p in parameters if excluded_from_lars(p.name)]
    groups = [
        {"params": decayed, "weight_decay": args.weight_decay},
        {"params": excluded, "weight_decay": 0.0},
        {"order_params": parameters},
    ]
    if args.opt == "sgd":
        return nn.SGD(groups, schedule, momentum=args.momentum)
    return nn.AdamWeightDecay(groups, schedule)


def create_train_step(args, network, plan, ranks=1):
    """The compiled step of a recipe; see `byol.BYOLTrainOneStep`.

    Changes the network in place: synchronised batch norms, then mixed precision.
    """
    if ranks > 1 and args.sync_bn:
        synchronize(network, ranks)
    set_precision(network, args.amp_level, args.amp_dtype)
    optimizer = create_optimizer(args, network, plan)
    dynamic = args.loss_scale_type == "dynamic"
    if args.amp_level != "O0" and args.amp_dtype == "float16" and args.loss_scale == 1:
        logger.warning(
            "float16 with a loss scale of 1: small gradients become zero; "
            "try --loss_scale_type dynamic --loss_scale 1024"
        )
    loss_scale = LossScale(args.loss_scale, dynamic) if dynamic or args.loss_scale != 1 else None
    return BYOLTrainOneStep(network, optimizer, args.base_tau, plan.total_steps, plan.accumulation, loss_scale, ranks)
