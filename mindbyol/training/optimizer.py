"""From a recipe to the optimizer, the loss scale and the precision of a network."""

import logging

from mindspore import nn

from mindbyol.training import schedules
from mindbyol.training.lars import LARS, excluded_from_lars, nothing_excluded, same_rate
from mindbyol.training.loss_scale import LossScale

logger = logging.getLogger(__name__)


def create_schedule(recipe, plan):
    """The learning rate as a function of the optimizer step.

    Args:
        recipe (Recipe): `scheduler` and what belongs to it.
        plan (Plan): Peak and length.

    Returns:
        LearningRateSchedule: For an optimizer.
    """
    peak, warmup_steps, warmup_factor = plan.peak_lr, plan.warmup_steps, plan.warmup_factor
    if recipe.scheduler == "multi_step_decay":
        return schedules.MultiStep(peak, warmup_steps, plan.milestones, recipe.decay_rate, warmup_factor)
    if recipe.scheduler == "polynomial_decay":
        return schedules.Polynomial(
            peak, warmup_steps, plan.total_steps, recipe.decay_rate, recipe.min_lr, warmup_factor
        )
    stair_steps = plan.steps_per_epoch if recipe.lr_epoch_stair else 1
    return schedules.WarmupCosine(peak, warmup_steps, plan.total_steps, recipe.min_lr, stair_steps, warmup_factor)


def create_optimizer(recipe, network, plan, multiplier=same_rate):
    """LARS, or MindSpore's SGD or AdamW, over what is trainable.

    Args:
        recipe (Recipe): The recipe.
        network (Cell): What to train.
        plan (Plan): Peak and length of the learning rate's schedule.
        multiplier (Callable[[str], float]): What the learning rate of a parameter is multiplied by, by its name.

    Returns:
        Optimizer: `schedule` is the learning rate without multipliers.
    """
    schedule = create_schedule(recipe, plan)
    parameters = network.trainable_params()
    exclude = excluded_from_lars if recipe.filter_bias_and_bn else nothing_excluded
    if recipe.opt == "lars":
        decay, trust = recipe.weight_decay, recipe.trust_coefficient
        optimizer = LARS(parameters, schedule, recipe.momentum, decay, trust, exclude, multiplier, recipe.lars_rule)
    elif recipe.opt == "sgd":
        groups = _groups(parameters, schedule, recipe.weight_decay, exclude, multiplier)
        optimizer = nn.SGD(groups, schedule, momentum=recipe.momentum, nesterov=recipe.use_nesterov)
    else:
        if plan.peak_lr > 0.01:
            logger.warning(
                f"adamw with a peak learning rate of {plan.peak_lr:.4g}: rates of this size are meant for lars and "
                "collapse adamw; try --lr 0.001"
            )
        groups = _groups(parameters, schedule, recipe.weight_decay, exclude, multiplier)
        optimizer = nn.AdamWeightDecay(groups, schedule)
    optimizer.schedule = schedule
    return optimizer


def _groups(parameters, schedule, weight_decay, exclude, multiplier):
    """Parameters as MindSpore's optimizers take them: those with the same decay and the same rate together."""
    alike = {}
    for parameter in parameters:
        decay = 0.0 if exclude(parameter.name) else weight_decay
        alike.setdefault((decay, multiplier(parameter.name)), []).append(parameter)
    rates = {times: schedule if times == 1 else schedules.Multiplied(schedule, times) for _, times in alike}
    groups = [{"params": params, "weight_decay": decay, "lr": rates[times]} for (decay, times), params in alike.items()]
    if set(rates) == {1}:  # one rate for all is computed once
        groups = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups]
    return [*groups, {"order_params": parameters}]


def create_loss_scale(recipe):
    """The loss scale of a recipe; None where it would be 1 for ever."""
    dynamic = recipe.loss_scale_type == "dynamic"
    if recipe.amp_level != "O0" and recipe.amp_dtype == "float16" and recipe.loss_scale == 1:
        logger.warning(
            "float16 with a loss scale of 1: small gradients become zero; "
            "try --loss_scale_type dynamic --loss_scale 1024"
        )
    return LossScale(recipe.loss_scale, dynamic) if dynamic or recipe.loss_scale != 1 else None
