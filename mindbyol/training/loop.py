"""One loop for every task that trains: log, checkpoints, stop signals, resume and distribution are here alone.

A task that trains has a class `Training`:

    Training(recipe, world)         opens the data
    source                          what is trained on: has a length and a description
    build(plan, card=None)          the network and its `TrainOneStep`; `card` is that of the run that goes on
    batches(plan, done)             batches after `done` optimizer steps, each in memory of its own; see `feeding.Feed`
    inputs(batch)                   the arrays of a batch that the step takes
    watchers, shown                 for the `TrainLog`, after `build`; and `measures`, if there are any
    facts()                         what the log says of it before the first step: {title: text}
    card()                          the part of a checkpoint's card that says what the network is
    exports(arrays)                 what is written beside each full checkpoint: {suffix: (arrays, kind of the card)}
    validate()                      {name: score} of the network as it is, the same on all ranks; empty if there is
                                    nothing to score with. Asked of tasks whose recipes have `val_while_train`
    keeps_best                      if it is there and False, no weights are kept for their scores; otherwise those with
                                    the highest first score are
    next_command(path)              what to type when the run is finished; `path` gives a file's name to a suffix
"""

import contextlib
import datetime
import logging
import os
import shlex
import time
from pathlib import Path

import numpy as np

from mindbyol import runtime
from mindbyol.data.loader import groups_of
from mindbyol.files import replacing
from mindbyol.reports import report
from mindbyol.terminal import setup_logging
from mindbyol.training import event_files
from mindbyol.training.best import BestScore
from mindbyol.training.feeding import Feed
from mindbyol.training.log import TrainLog
from mindbyol.training.plan import Plan
from mindbyol.training.run_folder import holds_run, make_output_folder
from mindbyol.training.run_state import RunState, Saved
from mindbyol.training.signals import StopSignals

logger = logging.getLogger(__name__)


class Run:
    """A training run, from its recipe to its last checkpoint.

    What is wrong with the recipe, the data or the folders comes out when it is made; `train` then trains.

    Args:
        recipe (Recipe): Of a task that trains.
        task (module): The task's module, with its `Training`.

    Raises:
        ValueError, OSError, RuntimeError: In one line: what is wrong and what to do.
    """

    def __init__(self, recipe, task):
        self.recipe = recipe
        if recipe.tensorboard:
            event_files.check_installed()

        # 1. the devices, the output folder, and with it the log files
        self.world = runtime.setup_for(recipe)
        self.ranks = runtime.Communicator(self.world)
        resume = self._open_folder()

        # 2. where an earlier run stopped
        saved = Saved.find(recipe.ckpt_save_dir, resume, recipe.model) if resume else None

        # 3. the data, and what follows from their number
        self.training = task.Training(recipe, self.world)
        source = self.training.source
        self.plan = Plan(recipe, len(source), self.world.ranks, groups_of(source))
        self.state = RunState(recipe, self.training, self.plan, self.world)
        if saved:
            self.state.check_same(saved)

        # 4. the network and its step, from where they start or go on
        self.step = self.training.build(self.plan, saved.card if saved else None)
        if saved:
            self._go_on(saved)
        if not self.ranks.all_equal(self.state.digest(self.step)):
            raise ValueError("the ranks do not start with the same weights: do they run the same code and recipe?")

        # 5. the first batch: images that cannot be read come out before an hour of compiling and training
        self.feed = Feed(self.training.batches(self.plan, self.state.steps), self.training.inputs)
        first = self.feed.check_first()
        self._announce()
        if self.world.rank == 0 and recipe.report:
            report.begin(recipe.ckpt_save_dir, self.world, self.plan, self.training.source, first)

    def _open_folder(self):
        """Rank 0 makes the output folder, then all open their log files.

        Returns:
            str: The checkpoint to go on with, or `newest`; None for a new run.
        """
        folder, resume = self.recipe.ckpt_save_dir, self.recipe.resume
        if resume == "auto":
            resume = "newest" if holds_run(folder) else None
            self.ranks.barrier()  # all have looked before one writes
        if self.world.rank == 0:
            make_output_folder(folder, resume)
        self.ranks.barrier()
        setup_logging(folder, self.world.rank)
        return resume

    def _go_on(self, saved):
        self.state.restore(self.step, saved)
        if self.world.rank == 0:
            self.state.forget_later_metrics()
        logger.info(f"resuming from {saved.path}: {self.state.steps} of {self.plan.total_steps} steps are done")
        for key in ("ckpt_path", "pretrained_from"):
            if self.recipe.values.get(key):
                logger.info(
                    f"{key} {self.recipe.values[key]} is not read: all weights are those of the run that goes on"
                )

    def _announce(self):
        """Writes the resolved recipe beside the checkpoints, and what matters of it to the log."""
        recipe, plan, world = self.recipe, self.plan, self.world
        if world.rank == 0:
            with replacing(Path(recipe.ckpt_save_dir) / "config.yaml") as beside:
                beside.write_text(recipe.text(without=("resume",)))
        scaled = f" = {recipe.base_lr:g} * {plan.effective_batch} / 256" if recipe.lr is None else " (--lr, not scaled)"
        facts = {
            "MindSpore mode[GRAPH(0)/PYNATIVE(1)]": recipe.mode,
            "Device target": world.target,
            "Distributed mode": world.ranks > 1,
            "Number of devices": world.ranks,
            "Task": recipe.task,
            "Training data": self.training.source.description,
            "Number of training samples": len(self.training.source),
            "Batch size": recipe.batch_size,
            "Effective batch": f"{plan.effective_batch} = {plan.factors}",
            "Number of steps": self._length(),
            **self.training.facts(),
            "Optimizer": recipe.opt,
            "Learning rate": f"{plan.peak_lr:.6g}{scaled}, after {plan.warmup_steps} steps of warm-up",
            "LR Scheduler": recipe.scheduler,
            "Momentum": recipe.momentum,
            "Weight decay": recipe.weight_decay,
            "Auto mixed precision": f"{recipe.amp_level} ({recipe.amp_dtype})",
            "Loss scale": f"{recipe.loss_scale:g} ({recipe.loss_scale_type})",
            "Seed": recipe.seed,
        }
        lines = "\n".join(f"{title}: {text}" for title, text in facts.items())
        logger.info(f"Essential Experiment Configurations:\n{lines}")
        if world.ranks > 1:
            pids = self.ranks.gather(np.array([os.getpid()], np.float32))  # exact below 2^24
            logger.info(", ".join(f"rank {rank}: process {int(pid)}" for rank, (pid,) in enumerate(pids)))

    def _length(self):
        """Steps and epochs of the run; where the recipe counts steps, the last epoch may be cut off."""
        plan = self.plan
        if plan.total_steps == plan.epochs * plan.steps_per_epoch:
            return f"{plan.total_steps} = {plan.epochs} epochs of {plan.steps_per_epoch}"
        return f"{plan.total_steps}, {plan.steps_per_epoch} an epoch"

    def train(self):
        """Trains to the end of the last epoch, or to a signal.

        Returns:
            bool: Whether the run is finished.

        Raises:
            NonFiniteLoss, NonFinite: Nothing is learned any more.
            DataError, OSError: The data or the output folder are gone.
        """
        plan, state, best = self.plan, self.state, BestScore()
        keeps_best = getattr(self.training, "keeps_best", True)
        log = TrainLog(
            state.folder,
            self.step,
            plan,
            self.recipe.log_interval,
            self.training.shown,
            [*self.training.watchers, best],
            state.steps,
            state.log,
            self.world.rank,
            getattr(self.training, "measures", None),
            self.recipe.tensorboard,
        )
        if state.steps == plan.total_steps:
            logger.info(
                f"all {plan.epochs} epochs are done already. The schedules end there, so training longer is a new run, "
                f"from these weights: --ckpt_path {shlex.quote(str(state.file()))} "
                "--ckpt_save_dir NEW_FOLDER --epoch_size N"
            )
        else:
            logger.info("compiling the training step; this takes a while the first time")
        runtime.clear_overflow_status()
        with StopSignals() as signals, contextlib.closing(log), contextlib.closing(self.feed):
            for number, batch in enumerate(self.feed, 1):
                started = time.perf_counter()
                log.add(*self.step(*batch))
                if number == 1 and self.world.rank == 0 and self.recipe.report:
                    report.compiled(state.folder, time.perf_counter() - started)
                if number % plan.accumulation:
                    continue
                received = signals.received
                stopping = self.ranks.any_before(received is not None)
                state.steps += 1
                log.end_step(self.feed.wait_seconds)
                if self._validation_due(state.steps):
                    with log.paused():
                        scores = self.training.validate()
                        if scores:
                            log.add_scores(scores)
                        if keeps_best and best.improved(scores) and self.world.rank == 0:
                            state.save_best(self.step, scores)
                if self.world.rank == 0 and (stopping or self._save_due(state.steps)):
                    with log.paused():
                        state.save(self.step, log.state)
                if stopping:
                    self.ranks.barrier()  # msrun kills the others when one has ended: wait until rank 0 has saved
                    by = f"{received}: " if received else ""  # or the signal came to another rank
                    logger.info(f"{by}stopped at step {state.steps} of {plan.total_steps}; --resume goes on from here")
                    return False
        logger.info(f"finished {plan.epochs} epochs in {datetime.timedelta(seconds=round(log.seconds))}")
        logger.info(f"next: {self.training.next_command(state.file)}")
        if self.world.rank == 0 and self.recipe.report:
            report.at_end(state.folder)
        return True

    def _validation_due(self, step):
        """Whether scores follow a step: each `val_interval` epochs and after the last one."""
        if not self.recipe.values.get("val_while_train"):
            return False
        epoch, rest = divmod(step, self.plan.steps_per_epoch)
        return (rest == 0 and epoch % self.recipe.val_interval == 0) or step == self.plan.total_steps

    def _save_due(self, step):
        """Whether a checkpoint follows a step: each `ckpt_save_interval` epochs or `ckpt_save_steps` steps."""
        epoch, rest = divmod(step, self.plan.steps_per_epoch)
        end_of_epoch = rest == 0 and epoch % self.recipe.ckpt_save_interval == 0
        by_steps = bool(self.recipe.ckpt_save_steps and step % self.recipe.ckpt_save_steps == 0)
        return end_of_epoch or by_steps or step == self.plan.total_steps
