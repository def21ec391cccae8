"""Every flag and recipe key of train.py and validate.py, in MindCV's groups and with MindCV's names.

A YAML recipe (`-c/--config`) overrides the defaults, the command line overrides both. Recipes are flat: one key a flag.
"""

import argparse
import logging

from mindbyol.backbones import PADDINGS, STEMS
from mindbyol.command import Parser, cut
from mindbyol.data import eval_transform_from_args, two_view_transform_from_args
from mindbyol.data.views import PER_VIEW
from mindbyol.recipe_file import nearest, read_recipe
from mindbyol.values import COUNT, FRACTION, IMAGE_SIZE, LARGEST_INT, NOT_NEGATIVE, POSITIVE, WORKERS, boolean, number

logger = logging.getLogger("mindbyol.config")


def resume_from(text):
    """`newest`, `auto` or the path of a checkpoint; true is the newest, false none."""
    return {"true": "newest", "false": None}.get(text.lower(), text)


def accumulation(text):
    """A number of batches, or `auto`."""
    return text if text == "auto" else COUNT(text)


HEAD_WIDTH = number(int, 1, 16384, why="published heads are 256 to 16384 wide")
BATCH_SIZE = number(int, 2, 65536, why="batch norm needs two images, and no device holds more than 65536")

_NOT_GIVEN = object()


def create_parser():
    parser = Parser(
        description="BYOL for MindSpore. Precedence: command line, then the YAML recipe, then defaults.",
        usage="%(prog)s [-c RECIPE.yaml] [--KEY VALUE ...]",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "-c", "--config", action="append", metavar="RECIPE", help="YAML file with any of the keys below"
    )

    group = parser.add_argument_group("System parameters")
    group.add_argument("--mode", type=number(int, 0, 1), default=0, help="0: graph mode, 1: pynative mode")
    group.add_argument("--distribute", type=boolean, help="train on all devices msrun started; default: if it did")
    group.add_argument("--device_target", choices=("Ascend", "GPU", "CPU"), help="default: what is there")
    group.add_argument("--jit_level", choices=("O0", "O1", "O2"), help="default: MindSpore's for the device")
    group.add_argument("--seed", type=number(int, 0, 2**32 - 1), default=42, help="decides weights, order and views")
    group.add_argument("--log_interval", type=COUNT, default=100, help="optimizer steps between log lines")

    group.add_argument(
        "--sync_bn", type=boolean, default=True, help="batch statistics of all devices, when distributed"
    )

    group = parser.add_argument_group("Dataset parameters")
    group.add_argument(
        "--dataset",
        choices=("imagenet", "folder", "cifar10", "cifar100", "stl10", "digits", "mindrecord"),
        default="imagenet",
        help="imagenet: a folder a class, or list files; folder: any folder of unlabelled images",
    )
    group.add_argument("--data_dir", default="./", help="where the data are")
    group.add_argument("--train_split", default="train", help="split to train on, and kNN's bank")
    group.add_argument("--val_split", default="val", help="split to score")
    group.add_argument("--dataset_download", type=boolean, default=False, help="fetch CIFAR or STL10 into data_dir")
    group.add_argument("--num_samples", type=COUNT, help="use only so many training images, evenly spaced")
    group.add_argument("--batch_size", type=BATCH_SIZE, default=64, help="images a device and forward pass")
    group.add_argument("--effective_batch", type=number(int, 2, 2**24), help="images a step, for accumulation 'auto'")
    group.add_argument("--num_parallel_workers", type=WORKERS, help="loader workers; default: fits the machine")
    group.add_argument("--worker_type", choices=("thread", "process"), default="thread", help="what a worker is")
    group.add_argument("--on_bad_image", choices=("skip", "stop"), default="skip", help="at an unreadable image")

    group = parser.add_argument_group(
        "Augmentation parameters",
        "Keys marked [per view] take their numbers once for both views, or twice: view 1's, then view 2's.",
    )
    group.add_argument("--image_resize", type=IMAGE_SIZE, default=224, help="side of a view in pixels")
    group.add_argument("--interpolation", choices=("bicubic", "bilinear"), default="bicubic", help="of all resizing")
    group.add_argument(
        "--jitter", choices=("deepmind", "torchvision"), default="deepmind", help="formulas of the jitter"
    )
    for key, view in PER_VIEW.items():
        group.add_argument(
            f"--{key}", type=view.parse, nargs="+", default=list(view.default), help=f"[per view] {view.help}"
        )
    group.add_argument("--crop_pct", type=number(float, 0, 1, above=0), default=0.875, help="centre crop of evaluation")
    group.add_argument(
        "--mean",
        type=number(float, 0, 255, why="pixels are 0-255"),
        nargs=3,
        default=[123.675, 116.28, 103.53],
        help="RGB, 0-255",
    )
    group.add_argument(
        "--std",
        type=number(float, 0.1, 255, why="pixels are 0-255"),
        nargs=3,
        default=[58.395, 57.12, 57.375],
        help="RGB, 0-255",
    )

    group = parser.add_argument_group("Model parameters")
    group.add_argument("--model", default="resnet50", help="a MindCV model")
    group.add_argument("--stem", choices=STEMS, default="imagenet", help="small: 3x3 stride 1, no max-pool (ResNets)")
    group.add_argument("--stages", type=number(int, 1, 4), default=4, help="kept of a ResNet, fewer for quick runs")
    group.add_argument("--padding", choices=PADDINGS, default="mindcv", help="of strided layers (ResNets)")
    group.add_argument("--ckpt_path", help="train.py: start from these weights; validate.py: score them")
    group.add_argument("--pretrained_from", help="train.py: start from another project's checkpoint; sets padding")
    group.add_argument("--ckpt_save_dir", default="./ckpt", help="checkpoints, metrics.jsonl, config.yaml, log")
    group.add_argument("--ckpt_save_interval", type=COUNT, default=1, help="epochs between checkpoints")
    group.add_argument("--keep_checkpoint_max", type=COUNT, default=10, help="checkpoints kept, newest first")
    group.add_argument("--ckpt_save_steps", type=COUNT, help="also a full checkpoint every so many optimizer steps")
    group.add_argument(
        "--resume",
        nargs="?",
        const="newest",
        type=resume_from,
        help="go on with the newest good checkpoint of ckpt_save_dir, or with the one named; auto: if there is one",
    )
    group.add_argument(
        "--epoch_size", type=number(int, 1, 1_000_000, why="epochs, not steps"), default=100, help="epochs"
    )
    group.add_argument(
        "--gradient_accumulation_steps",
        type=accumulation,
        default=1,
        help="batches an optimizer step; auto: what effective_batch needs on these devices",
    )

    group = parser.add_argument_group("BYOL parameters")
    group.add_argument("--base_tau", type=FRACTION, default=0.996, help="tau at the first step; 1 at the last")
    group.add_argument("--projector_hidden_size", type=HEAD_WIDTH, default=4096, help="hidden width of the projector")
    group.add_argument("--projection_size", type=HEAD_WIDTH, default=256, help="width of projections and predictions")
    group.add_argument("--predictor_hidden_size", type=HEAD_WIDTH, default=4096, help="hidden width of the predictor")
    group.add_argument("--probe", type=boolean, default=True, help="a linear probe beside BYOL where there are labels")

    group = parser.add_argument_group("Optimizer parameters")
    group.add_argument("--opt", choices=("lars", "sgd", "adamw"), default="lars", help="optimizer")
    group.add_argument("--momentum", type=number(float, 0, below=1), default=0.9, help="of lars and sgd")
    group.add_argument(
        "--weight_decay",
        type=number(float, 0, 1, why="more outweighs every gradient"),
        default=1e-6,
        help="not of biases and norms",
    )
    group.add_argument(
        "--trust_coefficient",
        type=number(float, maximum=1000, above=0, why="a step in units of the weights"),
        default=1e-3,
        help="of lars",
    )

    group = parser.add_argument_group("Scheduler parameters")
    group.add_argument("--scheduler", choices=("cosine_decay",), default="cosine_decay", help="after the warm-up")
    group.add_argument("--base_lr", type=NOT_NEGATIVE, default=0.2, help="peak for 256 images a step, scaled linearly")
    group.add_argument("--lr", type=NOT_NEGATIVE, help="peak itself, not scaled, as in MindCV; instead of base_lr")
    group.add_argument("--min_lr", type=NOT_NEGATIVE, default=0.0, help="at the end")
    group.add_argument("--warmup_epochs", type=NOT_NEGATIVE, default=10, help="from 0, linearly")

    group = parser.add_argument_group("Mixed precision parameters")
    group.add_argument(
        "--amp_level", choices=("O0", "O1", "O2", "O3"), default="O0", help="of the networks; not the loss"
    )
    group.add_argument("--amp_dtype", choices=("float16", "bfloat16"), default="float16", help="of O1 to O3")
    group.add_argument("--loss_scale_type", choices=("fixed", "dynamic"), default="fixed", help="whether it changes")
    group.add_argument("--loss_scale", type=number(float, 1), default=1.0, help="to start with; 1: none when fixed")

    group = parser.add_argument_group("Validation parameters")
    group.add_argument("--knn_k", type=COUNT, nargs="+", default=[10, 20, 100, 200], help="numbers of neighbours")
    group.add_argument("--knn_temperature", type=POSITIVE, default=0.07, help="of the votes' weights")
    group.add_argument(
        "--baselines", type=boolean, default=False, help="validate.py: also score the untrained backbone and raw pixels"
    )
    group.add_argument("--results", metavar="FILE", help="validate.py: write the scores as JSON, too")
    return parser


def parse_args(argv=None):
    """Reads the command line and the recipe it names, and checks all that can be checked without the data.

    Args:
        argv (list[str]): Arguments; those of the process by default.

    Returns:
        argparse.Namespace: One attribute a key.

    Raises:
        OSError: The recipe is not there or cannot be read.
        ValueError: An unknown key or flag, or a value of the wrong type, sign, size, length or choice; the message
            names it.
    """
    parser = create_parser()
    actions = {action.dest: action for action in parser._actions if action.dest != "help"}
    flags, unknown = parser.parse_known_args(
        argv, argparse.Namespace(**{**dict.fromkeys(actions, _NOT_GIVEN), "config": []})
    )
    if unknown:
        flag = unknown[0].split("=")[0]
        raise ValueError(f"{cut(unknown[0])}: no such flag{nearest(flag.lstrip('-'), actions, '--')}")
    given = {key: value for key, value in vars(flags).items() if value is not _NOT_GIVEN}
    configs = given.pop("config")
    if len(configs) > 1:
        raise ValueError(f"--config: given {len(configs)} times; a run has one recipe, and flags go over it")
    actions.pop("config")
    if configs:
        given = {**read_recipe(configs[0], parser, actions), **given}
    defaults = {key: action.default for key, action in actions.items()}
    args = argparse.Namespace(**{**defaults, **given, "config": configs[0] if configs else None})
    _check(args)
    _warn_of_unused(args, given)
    return args


def _check(args):
    for key in ("resume", "ckpt_path", "pretrained_from", "ckpt_save_dir", "data_dir", "results"):
        if getattr(args, key) == "":
            raise ValueError(f"{key}: is empty; was a variable not set?")
    if max(args.std) <= 1:
        raise ValueError(f"std: {args.std} looks like a 0-1 scale; mean and std are for pixels of 0-255")
    numbers = 3 * args.batch_size * args.image_resize**2
    if numbers > LARGEST_INT:
        raise ValueError(
            f"batch_size: {args.batch_size} images of {args.image_resize} x {args.image_resize} pixels are {numbers} "
            f"numbers, and a tensor has at most {LARGEST_INT}; lower batch_size or image_resize"
        )
    two_view_transform_from_args(args)
    eval_transform_from_args(args)


def _warn_of_unused(args, given):
    """Where of two keys that were given only one counts."""
    if args.lr is not None and "base_lr" in given:
        logger.warning(f"base_lr: {args.base_lr:g} is not used: lr {args.lr:g} is given, and is the peak itself")
    if args.amp_level == "O0" and "amp_dtype" in given:
        logger.warning(f"amp_dtype: {args.amp_dtype} is not used: amp_level O0 computes in float32")
