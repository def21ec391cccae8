"""From a recipe to the optimizer, the loss scale and the precision of a network."""

import logging

from mindspore import nn

from mindbyol.training import schedules
from mindbyol.training.lars import LARS, excluded_from_lars
from mindbyol.training.step import LossScale

logger = logging.getLogger(__name__)


def create_optimizer(recipe, network, plan):
    """LARS, or MindSpore's SGD or AdamW, over what is trainable: the target is not.

    Args:
        recipe (Recipe): The recipe.
        network (BYOL): What to train.
        plan (Plan): Peak and length of the learning rate's schedule.
    """
    schedule = schedules.WarmupCosine(plan.peak_lr, plan.warmup_steps, plan.total_steps, recipe.min_lr)
    parameters = network.trainable_params()
    if recipe.opt == "lars":
        return LARS(parameters, schedule, recipe.momentum, recipe.weight_decay, recipe.trust_coefficient)
    if recipe.opt == "adamw" and plan.peak_lr > 0.01:
        logger.warning(
            f"adamw with a peak learning rate of {plan.peak_lr:.4g}: rates of this size are meant for lars and "
            "collapse adamw; try --lr 0.001"
        )
    decayed = [p for p in parameters if not excluded_from_lars(p.name)]
    excluded = [p for p in parameters if excluded_from_lars(p.name)]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": excluded, "weight_decay": 0.0},
        {"order_params": parameters},
    ]
    if recipe.opt == "sgd":
        return nn.SGD(groups, schedule, momentum=recipe.momentum)
    return nn.AdamWeightDecay(groups, schedule)


def create_loss_scale(recipe):
    """The loss scale of a recipe; None where it would be 1 for ever."""
    dynamic = recipe.loss_scale_type == "dynamic"
    if recipe.amp_level != "O0" and recipe.amp_dtype == "float16" and recipe.loss_scale == 1:
        logger.warning(
            "float16 with a loss scale of 1: small gradients become zero; "
            "try --loss_scale_type dynamic --loss_scale 1024"
        )
    return LossScale(recipe.loss_scale, dynamic) if dynamic or recipe.loss_scale != 1 else None
