"""Tau and learning rates as pure functions of the optimizer step (BYOL, section 3.3; DeepMind's `schedules.py`).

All take the 0-based number of the step about to be applied, as a tensor, so that the compiled training step evaluates
them from its own counter and nothing on the host has to keep up with it.
"""

import math

import mindspore as ms
from mindspore import nn, ops


def target_tau(step, base_tau, total_steps):
    """The weight of the old target in its moving average: from `base_tau` at step 0 to 1 at the last, on a cosine.

    tau(k) = 1 - (1 - base_tau) * (cos(pi * min(k, K) / K) + 1) / 2

    Args:
        step (Tensor): Optimizer steps done so far, k; int or float, any shape.
        base_tau (float): tau at step 0.
        total_steps (int): Optimizer steps of the whole run, K.

    Returns:
        Tensor: float32, shape of `step`.
    """
    progress = ops.minimum(step.astype(ms.float32), float(total_steps)) / total_steps
    return 1.0 - (1.0 - base_tau) * (ops.cos(math.pi * progress) + 1.0) / 2.0


def learning_rate(step, peak, warmup_steps, total_steps, minimum=0.0, stair_steps=1, warmup_factor=0.0):
    """Linear warm-up, by default from 0, then a cosine down to `minimum`.

    lr(k) = peak * (f + (1 - f) * k / W) for k < W,
    then minimum + (peak - minimum) * (1 + cos(pi * (k - W) / (K - W))) / 2

    With `stair_steps` S, the cosine is taken at S * floor(k / S) in the place of k: with the steps of an epoch it
    changes from epoch to epoch only, as mmcv's `by_epoch` has it.

    Args:
        step (Tensor): Optimizer steps done so far, k; int or float, any shape.
        peak (float): Learning rate at the end of the warm-up; see `scaled_learning_rate`.
        warmup_steps (int): W; 0 for none.
        total_steps (int): Optimizer steps of the whole run, K.
        minimum (float): Learning rate at the end. DeepMind: 0.
        stair_steps (int): S, steps for which the cosine stays as it is.
        warmup_factor (float): f, the share of the peak that the warm-up starts from; mmcv's `warmup_ratio`.

    Returns:
        Tensor: float32, shape of `step`.
    """
    of_stair = step
    if stair_steps > 1:
        of_stair = ops.floor_divide(step.astype(ms.int32), stair_steps) * stair_steps  # whole numbers: no rounding
    decay_steps = max(total_steps - warmup_steps, 1)
    progress = ops.clamp(of_stair.astype(ms.float32) - warmup_steps, 0.0, float(decay_steps)) / decay_steps
    decayed = minimum + (peak - minimum) * (1.0 + ops.cos(math.pi * progress)) / 2.0
    return _after_warmup(step, peak, warmup_steps, decayed, warmup_factor)


def multi_step_learning_rate(step, peak, warmup_steps, milestones, decay_rate, warmup_factor=0.0):
    """Linear warm-up, then the peak, multiplied by `decay_rate` at each milestone.

    lr(k) = peak * (f + (1 - f) * k / W) for k < W, then peak * decay_rate ** (number of milestones m <= k)

    Args:
        step (Tensor): Optimizer steps done so far, k; int or float, any shape.
        peak, warmup_steps: As in `learning_rate`.
        milestones (sequence[int]): Steps from which on the rate is lower.
        decay_rate (float): What it is multiplied by.
        warmup_factor (float): As in `learning_rate`.

    Returns:
        Tensor: float32, shape of `step`.
    """
    lr = peak * ops.ones_like(step.astype(ms.float32))
    for milestone in milestones:
        lr = ops.select(step >= milestone, lr * decay_rate, lr)
    return _after_warmup(step, peak, warmup_steps, lr, warmup_factor)


def polynomial_learning_rate(step, peak, warmup_steps, total_steps, power, minimum=0.0, warmup_factor=0.0):
    """Linear warm-up, then from the peak down to `minimum` by a power of what is left of the run, as mmcv's `poly`.

    lr(k) = peak * (f + (1 - f) * k / W) for k < W, then (peak - minimum) * (1 - k / K) ** power + minimum

    Args:
        step (Tensor): Optimizer steps done so far, k; int or float, any shape.
        peak, warmup_steps, total_steps, minimum: As in `learning_rate`. The warm-up is part of the K steps.
        power (float): 1 for a line.
        warmup_factor (float): As in `learning_rate`.

    Returns:
        Tensor: float32, shape of `step`.
    """
    left = 1.0 - ops.minimum(step.astype(ms.float32), float(total_steps)) / total_steps
    decayed = (peak - minimum) * ops.pow(left, power) + minimum
    return _after_warmup(step, peak, warmup_steps, decayed, warmup_factor)


def _after_warmup(step, peak, warmup_steps, decayed, factor):
    share = factor + (1.0 - factor) * step.astype(ms.float32) / max(warmup_steps, 1)
    return ops.select(step < warmup_steps, peak * share, decayed)


def scaled_learning_rate(base_lr, effective_batch):
    """The linear scaling rule: `base_lr` is meant for 256 images an optimizer step."""
    return base_lr * effective_batch / 256


class WarmupCosine(nn.learning_rate_schedule.LearningRateSchedule):
    """`learning_rate` in the form that MindSpore's optimizers call."""

    def __init__(self, peak, warmup_steps, total_steps, minimum=0.0, stair_steps=1, warmup_factor=0.0):
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.minimum = minimum
        self.stair_steps = stair_steps
        self.warmup_factor = warmup_factor

    def construct(self, global_step):
        return learning_rate(
            global_step,
            self.peak,
            self.warmup_steps,
            self.total_steps,
            self.minimum,
            self.stair_steps,
            self.warmup_factor,
        )


class MultiStep(nn.learning_rate_schedule.LearningRateSchedule):
    """`multi_step_learning_rate` in the form that MindSpore's optimizers call."""

    def __init__(self, peak, warmup_steps, milestones, decay_rate, warmup_factor=0.0):
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.milestones = tuple(milestones)
        self.decay_rate = decay_rate
        self.warmup_factor = warmup_factor

    def construct(self, global_step):
        return multi_step_learning_rate(
            global_step, self.peak, self.warmup_steps, self.milestones, self.decay_rate, self.warmup_factor
        )


class Polynomial(nn.learning_rate_schedule.LearningRateSchedule):
    """`polynomial_learning_rate` in the form that MindSpore's optimizers call."""

    def __init__(self, peak, warmup_steps, total_steps, power, minimum=0.0, warmup_factor=0.0):
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.power = power
        self.minimum = minimum
        self.warmup_factor = warmup_factor

    def construct(self, global_step):
        return polynomial_learning_rate(
            global_step,
            self.peak,
            self.warmup_steps,
            self.total_steps,
            self.power,
            self.minimum,
            self.warmup_factor,
        )


class Multiplied(nn.learning_rate_schedule.LearningRateSchedule):
    """A schedule times a number: of parameters that learn faster, or slower, than the others."""

    def __init__(self, schedule, multiplier):
        super().__init__()
        self.schedule = schedule
        self.multiplier = multiplier

    def construct(self, global_step):
        return self.schedule(global_step) * self.multiplier
