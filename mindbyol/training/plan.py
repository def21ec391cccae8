"""The arithmetic of a run: batches, steps, epochs, the highest learning rate."""

import math

from mindbyol.config.values import LARGEST_FLOAT, LARGEST_INT
from mindbyol.data.loader import full_batches
from mindbyol.training.schedules import scaled_learning_rate


class Plan:
    """The arithmetic of a run, done once, before anything is built.

    Args:
        recipe (Recipe): The recipe.
        num_images (int): Images of the training split.
        ranks (int): Devices that train together.
        groups (numpy.ndarray): The group of each image, where a batch is of one of them; see `loader.order_of_epoch`.

    Attributes:
        epochs (int): Of the run; the last one may be cut off, where the recipe counts steps.
        accumulation (int): Batches an optimizer step.
        effective_batch (int): Images an optimizer step, over all devices and accumulated batches.
        steps_per_epoch (int): Optimizer steps an epoch; the remainder of the images is left out.
        total_steps (int): Of the whole run.
        warmup_epochs (float): Epochs of linear warm-up, which need not be whole; of recipes that count epochs.
        warmup_steps (int): Steps of linear warm-up.
        warmup_factor (float): Share of the peak that the warm-up starts from.
        milestones (list[int]): Steps after which `multi_step_decay` lowers the rate.
        peak_lr (float): Learning rate at the end of the warm-up.

    Raises:
        ValueError: There are fewer images than one step takes, more steps than int32 counts, the warm-up outlasts the
            run, the peak is no float32, the rate at the end is above it, or the effective batch is no multiple of what
            the devices take at a time.
    """

    def __init__(self, recipe, num_images, ranks=1, groups=None):
        self.accumulation = recipe.gradient_accumulation_steps
        if self.accumulation == "auto":
            self.accumulation = self._accumulation(recipe, ranks)
        self.effective_batch = recipe.batch_size * ranks * self.accumulation
        if recipe.effective_batch not in (None, self.effective_batch):
            raise ValueError(
                f"effective_batch: {recipe.effective_batch} asked for, but gradient_accumulation_steps "
                f"{recipe.gradient_accumulation_steps} gives {self.effective_batch}; 'auto' gives what is asked for"
            )
        in_steps = "train_steps" in recipe.values  # dense tasks count steps, the others epochs
        if not in_steps:
            self.warmup_epochs, too_long = self._warmup(recipe)
        self.factors = f"{recipe.batch_size} a device x {ranks} devices x {self.accumulation} accumulated"
        self.steps_per_epoch = full_batches(num_images, recipe.batch_size * ranks, groups) // self.accumulation
        if self.steps_per_epoch == 0:
            smaller = self._smaller(num_images, ranks)
            raise ValueError(
                f"batch_size: a step takes {self.effective_batch} images ({self.factors}), the training split has "
                f"{num_images}{', and a batch is of one group of them' if groups is not None else smaller}"
            )
        self.total_steps = recipe.epoch_size * self.steps_per_epoch
        if in_steps and recipe.train_steps is not None:
            self.total_steps = recipe.train_steps
        self.epochs = math.ceil(self.total_steps / self.steps_per_epoch)
        if self.total_steps > LARGEST_INT:
            raise ValueError(
                f"epoch_size: {recipe.epoch_size} epochs of {self.steps_per_epoch} steps are {self.total_steps} steps, "
                f"and steps are counted in int32, up to {LARGEST_INT}"
            )
        if in_steps:
            self.warmup_steps, self.warmup_factor = recipe.warmup_steps, recipe.warmup_factor
            too_long = f"warmup_steps: {self.warmup_steps} steps of warm-up in a run of {self.total_steps}; lower it"
        else:
            self.warmup_steps = math.floor(self.warmup_epochs * num_images / self.effective_batch)
            self.warmup_factor = 0.0
        if self.warmup_steps >= self.total_steps:
            raise ValueError(too_long)
        self.milestones = [epoch * self.steps_per_epoch for epoch in recipe.multi_step_decay_milestones]
        if in_steps and recipe.decay_steps:
            self.milestones = list(recipe.decay_steps)
        self.peak_lr = scaled_learning_rate(recipe.base_lr, self.effective_batch) if recipe.lr is None else recipe.lr
        if self.peak_lr > LARGEST_FLOAT:
            raise ValueError(
                f"base_lr: {recipe.base_lr:g} for 256 images is {self.peak_lr:g} for {self.effective_batch}, "
                "which no float32 holds"
            )
        if recipe.min_lr > self.peak_lr:
            raise ValueError(
                f"min_lr: {recipe.min_lr:g}, the rate at the end, is above the peak of {self.peak_lr:g}: "
                "the rate would rise where it is to decay"
            )

    def _smaller(self, num_images, ranks):
        """The end of a message: a batch_size that so few images fill twice an epoch."""
        fits = num_images // (2 * ranks * self.accumulation)
        return f"; try --batch_size {fits}" if fits > 1 else ""

    @staticmethod
    def _warmup(recipe):
        """Epochs of warm-up, and what to say if they are as many as the run's."""
        epochs = min(10, recipe.epoch_size / 10) if recipe.warmup_epochs is None else recipe.warmup_epochs
        too_long = (
            f"warmup_epochs: {epochs} epochs of warm-up in a run of {recipe.epoch_size}; "
            f"try --warmup_epochs {recipe.epoch_size / 10:g}"
        )
        if epochs >= recipe.epoch_size:
            raise ValueError(too_long)
        return epochs, too_long

    @staticmethod
    def _accumulation(recipe, ranks):
        if recipe.effective_batch is None:
            raise ValueError("gradient_accumulation_steps: auto needs effective_batch, the images an optimizer step")
        steps, rest = divmod(recipe.effective_batch, recipe.batch_size * ranks)
        if rest or not steps:
            raise ValueError(
                f"effective_batch: {recipe.effective_batch} is no multiple of {recipe.batch_size * ranks}, "
                f"which {ranks} devices of batch_size {recipe.batch_size} take at a time"
            )
        return steps
