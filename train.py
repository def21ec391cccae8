"""Pretrains a backbone with BYOL: `python train.py --config configs/byol/....yaml --data_dir ...`."""

import datetime
import itertools
import logging
import sys
from pathlib import Path

import yaml

import mindspore as ms
from mindspore import Tensor

import mindbyol
from config import parse_args
from mindbyol import checkpoint, runtime
from mindbyol.build import Plan, create_byol, create_train_step
from mindbyol.callbacks import NonFiniteLoss, TrainLog, setup_logging
from mindbyol.data import DataError, pretrain_loader_from_args, source_from_args

logger = logging.getLogger("mindbyol.train")


def prepare(args):
    """Builds everything a run needs. What is wrong with the recipe, the data or the folders comes out here."""
    # 1. the output folder, and with it the log file
    folder = Path(args.ckpt_save_dir)
    checkpoint.make_output_folder(folder)
    setup_logging(folder)
    target = runtime.setup(args)

    # 2. the data, and what follows from their number
    source = source_from_args(args, args.train_split, args.num_samples)
    plan = Plan(args, len(source))
    loader = pretrain_loader_from_args(args, source, batches_per_epoch=plan.steps_per_epoch)

    # 3. the network, weights to start from, the optimizer
    num_classes = len(source.class_names) if args.probe and source.labels is not None else None
    network = create_byol(args, num_classes)
    if args.ckpt_path:
        checkpoint.load_backbone(network.online.backbone, args.ckpt_path, args.model)
    step = create_train_step(args, network, plan)

    # 4. the first batch: images that cannot be read come out before an hour of compiling and training
    batches = iter(loader)
    batches = itertools.chain([next(batches)], batches)

    (folder / "config.yaml").write_text(yaml.safe_dump({k: v for k, v in vars(args).items() if k != "config"}))
    logger.info(
        "Essential Experiment Configurations:\n"
        f"MindSpore mode[GRAPH(0)/PYNATIVE(1)]: {args.mode}\n"
        f"Device target: {target}\n"
        f"Training data: {source.description}\n"
        f"Number of training samples: {len(source)}\n"
        f"Number of classes: {num_classes if num_classes else 'no labels, no probe'}\n"
        f"Batch size: {args.batch_size}\n"
        f"Effective batch: {plan.effective_batch} = {args.batch_size} a device\n"
        f"Number of steps: {plan.total_steps} = {args.epoch_size} epochs of {plan.steps_per_epoch}\n"
        f"Model: {args.model}, stem {args.stem}, padding {args.padding}, {args.image_resize} px\n"
        f"Model parameters: {sum(p.size for p in network.online.backbone.get_parameters())} in the backbone, "
        f"{sum(p.size for p in network.trainable_params())} trained\n"
        f"Optimizer: {args.opt}\n"
        f"Learning rate: {plan.peak_lr:.6g}"
        + (f" = {args.base_lr:g} * {plan.effective_batch} / 256" if args.lr is None else " (--lr, not scaled)")
        + f", after {plan.warmup_steps} steps of warm-up\n"
        f"LR Scheduler: {args.scheduler}\n"
        f"Momentum: {args.momentum}\n"
        f"Weight decay: {args.weight_decay}\n"
        f"Tau: {args.base_tau} to 1\n"
        f"Seed: {args.seed}"
    )
    return folder, source, plan, loader, batches, network, step


def make_card(args, source):
    """What a checkpoint says of itself; epoch and step are added when one is written."""
    return {
        "model": args.model,
        "stem": args.stem,
        "padding": args.padding,
        "image_resize": args.image_resize,
        "mean": args.mean,
        "std": args.std,
        "recipe": Path(args.config).name if args.config else None,
        "data": source.description,
        "epoch_size": args.epoch_size,
        "mindbyol": mindbyol.__version__,
        "mindspore": ms.__version__,
    }


def save(args, folder, network, step, card):
    """Writes the full checkpoint and the backbone-only one beside it, then deletes the oldest.

    Returns:
        Path: The backbone-only checkpoint.
    """
    name = f"{args.model}-{card['epoch']}_{card['step']}"
    arrays = {p.name: p.asnumpy() for p in step.get_parameters()}
    backbone = folder / f"{name}_backbone.ckpt"
    checkpoint.write(backbone, checkpoint.online_backbone(arrays), {**card, "kind": "backbone"})
    checkpoint.write(folder / f"{name}.ckpt", arrays, {**card, "kind": "byol"})
    checkpoint.prune(folder, args.model, args.keep_checkpoint_max)
    return backbone


def train(args, folder, source, plan, loader, batches, network, step):
    card = make_card(args, source)
    log = TrainLog(folder, step.statistics, plan, args.epoch_size, args.log_interval, args.projection_size)
    logger.info("compiling the training step; this takes a while the first time")
    backbone = None
    try:
        for number, batch in enumerate(batches, start=1):
            arrays = batch if network.probe is not None else batch[:2]
            loss, statistics = step(*(Tensor(array) for array in arrays))
            log.update(loss, statistics, loader.wait_seconds)
            epoch, rest = divmod(number, plan.steps_per_epoch)
            if rest == 0 and (epoch % args.ckpt_save_interval == 0 or epoch == args.epoch_size):
                with log.paused():
                    backbone = save(args, folder, network, step, {**card, "epoch": epoch, "step": number})
    finally:
        log.close()
    logger.info(f"finished {args.epoch_size} epochs in {datetime.timedelta(seconds=round(log.seconds))}")
    config = f"--config {args.config} " if args.config else ""
    logger.info(f"next: python validate.py {config}--data_dir {args.data_dir} --ckpt_path {backbone}")


def main(argv=None):
    setup_logging()
    try:
        args = parse_args(argv)
        prepared = prepare(args)
    except (ValueError, OSError) as error:
        sys.exit(f"train.py: {error}")
    try:
        train(args, *prepared)
    except (NonFiniteLoss, DataError, OSError) as error:
        logger.error(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
