"""Pretrains a backbone with BYOL: `python train.py --config configs/byol/....yaml --data_dir ...`."""

import argparse
import datetime
import itertools
import logging
import os
import sys
from pathlib import Path

from mindbyol.command import one_line_errors, packages

with packages("train.py"):
    import numpy as np
    import yaml

    from mindspore import Tensor

    from config import parse_args
    from mindbyol import runtime
    from mindbyol.build import Plan, create_byol, create_train_step, read_start, start_from
    from mindbyol.callbacks import NonFiniteLoss, StopSignals, TrainLog, setup_logging
    from mindbyol.checkpoint import NonFinite
    from mindbyol.data import DataError, pretrain_loader_from_args, source_from_args
    from mindbyol.run_state import RunState, holds_run, make_output_folder

logger = logging.getLogger("mindbyol.train")

# What the process ends with after SIGTERM or SIGINT, its state saved: run again with --resume.
STOPPED = 75


def prepare(args):
    """Builds everything a run needs. What is wrong with the recipe, the data or the folders comes out here."""
    # 1. the devices, the output folder, and with it the log files
    world = runtime.setup(args)
    communicator = runtime.Communicator(world)
    if args.resume == "auto":
        args.resume = "newest" if holds_run(args.ckpt_save_dir) else None
        communicator.any(False)  # all have looked before one writes
    if world.rank == 0:
        make_output_folder(args.ckpt_save_dir, args.resume)
    communicator.any(False)  # the others wait for the folder
    setup_logging(args.ckpt_save_dir, world.rank)

    # 2. the data, and what follows from their number
    source = source_from_args(args, args.train_split, args.num_samples)
    plan = Plan(args, len(source), world.ranks)

    # 3. weights to start from, the network, the step
    start = None if args.resume else read_start(args)
    if start:
        args = argparse.Namespace(**{**vars(args), "padding": start.card.padding})
    num_classes = len(source.class_names) if args.probe and source.labels is not None else None
    network = create_byol(args, num_classes)
    if start:
        start_from(network, start.arrays, args.pretrained_from or args.ckpt_path)
    step = create_train_step(args, network, plan, world.ranks)

    # 4. where an earlier run stopped
    state = RunState(args.ckpt_save_dir, args, step, source, plan, world)
    if args.resume:
        path = state.restore(args.resume)
        if world.rank == 0:
            state.forget_later_metrics()
        logger.info(f"resuming from {path}: {state.steps} of {plan.total_steps} steps are done")
        for key in ("ckpt_path", "pretrained_from"):
            if getattr(args, key):
                logger.info(f"{key} {getattr(args, key)} is not read: all weights are those of the run that goes on")
    if not communicator.all_equal(state.digest()):
        raise ValueError("the ranks do not start with the same weights: do they run the same code and recipe?")

    # 5. the first batch: images that cannot be read come out before an hour of compiling and training
    loader = pretrain_loader_from_args(
        args,
        source,
        world.rank,
        world.ranks,
        plan.steps_per_epoch * plan.accumulation,
        state.steps * plan.accumulation,
    )
    batches = iter(loader)
    batches = itertools.chain([next(batches)] if len(loader) else [], batches)
    announce(args, world, source, plan, network, num_classes)
    if world.ranks > 1:
        pids = communicator.gather(np.array([os.getpid()], np.float32))  # exact below 2^24
        logger.info(", ".join(f"rank {rank}: process {int(pid)}" for rank, (pid,) in enumerate(pids)))
    return world, communicator, plan, loader, batches, network, step, state


def announce(args, world, source, plan, network, num_classes):
    """Writes the resolved recipe beside the checkpoints, and what matters of it to the log."""
    if world.rank == 0:
        config = {key: value for key, value in vars(args).items() if key not in ("config", "resume")}
        file = Path(args.ckpt_save_dir) / "config.yaml"
        try:
            file.write_text(yaml.safe_dump(config))
        except OSError as error:
            raise OSError(f"cannot write '{file}': {error.strerror}") from error
    scaled = f" = {args.base_lr:g} * {plan.effective_batch} / 256" if args.lr is None else " (--lr, not scaled)"
    logger.info(
        "Essential Experiment Configurations:\n"
        f"MindSpore mode[GRAPH(0)/PYNATIVE(1)]: {args.mode}\n"
        f"Device target: {world.target}\n"
        f"Distributed mode: {world.ranks > 1}\n"
        f"Number of devices: {world.ranks}\n"
        f"Training data: {source.description}\n"
        f"Number of training samples: {len(source)}\n"
        f"Number of classes: {num_classes or 'no probe, so none'}\n"
        f"Batch size: {args.batch_size}\n"
        f"Effective batch: {plan.effective_batch} = {plan.factors}\n"
        f"Number of steps: {plan.total_steps} = {args.epoch_size} epochs of {plan.steps_per_epoch}\n"
        f"Model: {args.model}, stem {args.stem}, padding {args.padding}, {args.image_resize} px\n"
        f"Model parameters: {sum(p.size for p in network.online.backbone.get_parameters())} in the backbone, "
        f"{sum(p.size for p in network.trainable_params())} trained\n"
        f"Optimizer: {args.opt}\n"
        f"Learning rate: {plan.peak_lr:.6g}{scaled}, after {plan.warmup_steps} steps of warm-up\n"
        f"LR Scheduler: {args.scheduler}\n"
        f"Momentum: {args.momentum}\n"
        f"Weight decay: {args.weight_decay}\n"
        f"Tau: {args.base_tau} to 1\n"
        f"Auto mixed precision: {args.amp_level} ({args.amp_dtype})\n"
        f"Loss scale: {args.loss_scale:g} ({args.loss_scale_type})\n"
        f"Seed: {args.seed}"
    )
    if world.ranks > 1 and not args.sync_bn:
        logger.warning(
            f"sync_bn is off: each device normalises with the statistics of its own {args.batch_size} images, "
            "which BYOL's published results do not"
        )


def train(args, world, communicator, plan, loader, batches, network, step, state):
    """Runs to the end of the last epoch, or to a signal.

    Returns:
        bool: Whether the run is finished.
    """
    log = TrainLog(
        state.folder,
        step.statistics,
        plan,
        args.epoch_size,
        args.log_interval,
        args.projection_size,
        state.steps,
        state.log,
        world.rank,
    )
    logger.info("compiling the training step; this takes a while the first time")
    stopping = False
    with StopSignals() as signals:
        try:
            for number, batch in enumerate(batches, 1):
                arrays = batch if network.probe is not None else batch[:2]
                log.add(*step(*(Tensor(array) for array in arrays)))
                received = signals.received
                stopping = stopping or communicator.any_before(received is not None)
                if number % plan.accumulation:
                    continue
                state.steps += 1
                log.end_step(loader.wait_seconds)
                if world.rank == 0 and (stopping or save_due(args, plan, state.steps)):
                    with log.paused():
                        state.save(log.state)
                if stopping:
                    communicator.any(False)  # msrun kills the others when one has ended: wait until rank 0 has saved
                    by = f"{received}: " if received else ""  # or the signal came to another rank
                    logger.info(f"{by}stopped at step {state.steps} of {plan.total_steps}; --resume goes on from here")
                    return False
        finally:
            log.close()
    logger.info(f"finished {args.epoch_size} epochs in {datetime.timedelta(seconds=round(log.seconds))}")
    config = f"--config {args.config} " if args.config else ""
    logger.info(f"next: python validate.py {config}--data_dir {args.data_dir} --ckpt_path {state.backbone}")
    return True


def save_due(args, plan, step):
    """Whether a checkpoint is written after a step: each `ckpt_save_interval` epochs or `ckpt_save_steps` steps."""
    epoch, rest = divmod(step, plan.steps_per_epoch)
    end_of_epoch = rest == 0 and (epoch % args.ckpt_save_interval == 0 or epoch == args.epoch_size)
    return end_of_epoch or bool(args.ckpt_save_steps and step % args.ckpt_save_steps == 0)


@one_line_errors("train.py", errors=())
def main(argv=None):
    with one_line_errors("train.py"):
        setup_logging()
        args = parse_args(argv)
        prepared = prepare(args)
    try:
        finished = train(args, *prepared)
    except (NonFiniteLoss, NonFinite, DataError, OSError) as error:
        logger.error(error)
        sys.exit(1)
    if not finished:
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
