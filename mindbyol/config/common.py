"""The keys that several tasks share, in MindCV's groups and with MindCV's names."""

import argparse
import logging

from mindbyol.config.keys import Changes, Group, Key, path
from mindbyol.config.values import COUNT, IMAGE_SIZE, LARGEST_INT, NOT_NEGATIVE, WORKERS, boolean, colour, number
from mindbyol.data.sources import DATASETS
from mindbyol.model_card import PADDINGS, STEMS

logger = logging.getLogger(__name__)

BATCH_SIZE = number(int, 2, 65536, why="batch norm needs two images, and no device holds more than 65536")


def resume_from(text):
    """`newest`, `auto` or the path of a checkpoint; true is the newest, false none."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; was a variable not set?")
    return {"true": "newest", "false": None}.get(text.lower(), text)


def accumulation(text):
    """A number of batches, or `auto`."""
    return text if text == "auto" else COUNT(text)


SYSTEM = Group(
    "System parameters",
    (
        Key("mode", 0, number(int, 0, 1), "0 compiles graphs; 1 runs operator by operator (pynative), to debug"),
        Key(
            "distribute", None, boolean, "train on all devices that msrun started; by default if it did", Changes.SPEED
        ),
        Key("device_target", None, str, "by default the one there is", choices=("Ascend", "GPU", "CPU")),
        Key(
            "jit_level",
            None,
            str,
            "how far MindSpore's compiler goes; by default MindSpore's choice for the device",
            choices=("O0", "O1", "O2"),
        ),
        Key("seed", 42, number(int, 0, 2**32 - 1), "decides first weights, order and views"),
        Key("deterministic", False, boolean, "Ascend adds up in one order, slower: runs repeat to the bit, as on CPUs"),
    ),
)

DATASET = Group(
    "Dataset parameters",
    (
        Key(
            "dataset",
            "imagenet",
            str,
            "imagenet: a folder a class, or list files; folder: any folder of unlabelled images",
            choices=DATASETS,
        ),
        Key("data_dir", "./", path, "folder of the data set", Changes.PATHS),
        Key("train_split", "train", path, "split to train on; the bank of kNN"),
        Key("dataset_download", False, boolean, "fetch CIFAR or STL10 into data_dir", Changes.PATHS),
        Key("num_samples", None, COUNT, "use only so many training images, evenly spaced over the split"),
        Key("batch_size", 64, BATCH_SIZE, "images a device and forward pass"),
        Key(
            "num_parallel_workers", None, WORKERS, "workers that load images; by default as many as fit", Changes.SPEED
        ),
        Key(
            "worker_type",
            "thread",
            str,
            "what a worker is; processes are faster with many cores",
            Changes.SPEED,
            choices=("thread", "process"),
        ),
        Key(
            "on_bad_image",
            "skip",
            str,
            "an unreadable image is replaced by the next readable one, up to a hundredth of all (skip) or any number "
            "(skip_any), or ends the run (stop)",
            choices=("skip", "skip_any", "stop"),
        ),
    ),
)

IMAGES = Group(
    "Image parameters",
    (
        Key("image_resize", 224, IMAGE_SIZE, "side of an image as the network gets it, in pixels"),
        Key(
            "interpolation",
            "bicubic",
            str,
            "how an image is resized",
            choices=("bicubic", "bilinear"),
        ),
        Key(
            "background",
            "white",
            colour,
            "what is seen through transparent pixels: white, gray, black, or red, green and blue, such as 255,128,0",
        ),
        Key(
            "mean",
            (123.675, 116.28, 103.53),
            number(float, 0, 255, why="pixels are 0-255"),
            "taken from each pixel, RGB on the 0-255 scale",
            nargs=3,
        ),
        Key(
            "std",
            (58.395, 57.12, 57.375),
            number(float, 0.1, 255, why="pixels are 0-255"),
            "what each pixel is then divided by, RGB on the 0-255 scale",
            nargs=3,
        ),
    ),
)

BACKBONE = Group(
    "Model parameters",
    (
        Key("model", "resnet50", path, "a MindCV model"),
        Key(
            "stem",
            "imagenet",
            str,
            "small: a 3x3 convolution of stride 1 and no max-pool, for images of up to 64 pixels (ResNets)",
            choices=STEMS,
        ),
        Key("stages", 4, number(int, 1, 4), "how many of a ResNet's stages are kept; fewer for quick runs"),
        Key(
            "padding",
            "mindcv",
            str,
            "where strided layers get their zeros: weights of a project are exact with its own only (ResNets)",
            choices=PADDINGS,
        ),
        Key("ckpt_path", None, path, "train.py: start from these weights; validate.py: score them", Changes.PATHS),
    ),
)

PRETRAINED_FROM = Key(
    "pretrained_from", None, path, "start from another project's checkpoint, with its padding", Changes.PATHS
)

RUN = Group(
    "Run parameters",
    (
        Key("ckpt_save_dir", "./ckpt", path, "folder for checkpoints, metrics.jsonl, config.yaml, logs", Changes.PATHS),
        Key("ckpt_save_interval", 1, COUNT, "epochs between checkpoints", Changes.PATHS),
        Key("keep_checkpoint_max", 10, COUNT, "full checkpoints that are kept, the newest", Changes.PATHS),
        Key("ckpt_save_steps", None, COUNT, "a checkpoint every so many optimizer steps, too", Changes.PATHS),
        Key(
            "resume",
            None,
            resume_from,
            "go on with the newest good checkpoint of ckpt_save_dir, or with the one named; auto: if there is one",
            Changes.PATHS,
            nargs="?",
            const="newest",
        ),
        Key("log_interval", 100, COUNT, "optimizer steps between log lines", Changes.LOGS),
        Key("report", True, boolean, "end with report.html in ckpt_save_dir, a page with curves and all", Changes.LOGS),
        Key("tensorboard", False, boolean, "event files for TensorBoard in ckpt_save_dir/tensorboard", Changes.LOGS),
        Key("epoch_size", 100, number(int, 1, 1_000_000, why="epochs, not steps"), "epochs of the run"),
        Key("effective_batch", None, number(int, 2, 2**24), "images an optimizer step; needed by accumulation 'auto'"),
        Key(
            "gradient_accumulation_steps",
            1,
            accumulation,
            "batches an optimizer step; auto: as many as effective_batch needs on these devices",
        ),
        Key(
            "dataset_sink_mode",
            False,
            boolean,
            "of MindCV's recipes; here a thread makes batches ready on every device, and a line of the log says so",
            Changes.SPEED,
        ),
        Key("sync_bn", True, boolean, "several devices: batch norm over the images of all, not of each"),
    ),
    training_only=True,
)

OPTIMIZER = Group(
    "Optimizer parameters",
    (
        Key("opt", "lars", str, "the optimizer", choices=("lars", "sgd", "adamw")),
        Key("momentum", 0.9, number(float, 0, below=1), "share of the last update in the next, in lars and sgd"),
        Key(
            "weight_decay",
            1e-6,
            number(float, 0, 1, why="more outweighs every gradient"),
            "pull of the weights towards 0",
        ),
        Key(
            "filter_bias_and_bn",
            True,
            boolean,
            "biases and norms have no weight decay and, in lars, no trust ratio, but the plain gradient",
        ),
        Key("use_nesterov", False, boolean, "sgd: looks ahead by the momentum"),
        Key(
            "trust_coefficient",
            1e-3,
            number(float, maximum=1000, above=0, why="a step in units of the weights"),
            "lars: size of an update as a share of the weights' own size",
        ),
        Key(
            "lars_rule",
            "deepmind",
            str,
            "lars: DeepMind's rule, or mmcv's, with another denominator and the rate inside the momentum",
            choices=("deepmind", "mmcv"),
        ),
    ),
    training_only=True,
)

SCHEDULER = Group(
    "Scheduler parameters",
    (
        Key(
            "scheduler",
            "cosine_decay",
            str,
            "how the rate falls after the warm-up",
            choices=("cosine_decay", "multi_step_decay", "polynomial_decay"),
        ),
        Key("base_lr", 0.2, NOT_NEGATIVE, "highest learning rate for 256 images a step, scaled with effective_batch"),
        Key("lr", None, NOT_NEGATIVE, "highest learning rate itself, not scaled, as in MindCV; instead of base_lr"),
        Key("min_lr", 0.0, NOT_NEGATIVE, "learning rate of the last step"),
        Key(
            "warmup_epochs",
            None,
            NOT_NEGATIVE,
            "epochs in which the rate rises linearly from 0; by default 10, and a tenth of a run of less than 100",
        ),
        Key(
            "lr_epoch_stair",
            False,
            boolean,
            "cosine_decay: the rate changes from epoch to epoch, not from step to step",
        ),
        Key(
            "multi_step_decay_milestones",
            (30, 60, 90),
            COUNT,
            "multi_step_decay: epochs after which the rate is multiplied by decay_rate, in ascending order",
            nargs="+",
        ),
        Key(
            "decay_rate",
            0.1,
            number(float, 0, 1, above=0),
            "multi_step_decay: what the rate is multiplied by; polynomial_decay: the power of what is left of the run",
        ),
    ),
    training_only=True,
)

MIXED_PRECISION = Group(
    "Mixed precision parameters",
    (
        Key(
            "amp_level",
            "O0",
            str,
            "how much of the networks computes in amp_dtype; the loss never does",
            choices=("O0", "O1", "O2", "O3"),
        ),
        Key("amp_dtype", "float16", str, "type of O1 to O3", choices=("float16", "bfloat16")),
        Key(
            "loss_scale_type",
            "fixed",
            str,
            "dynamic: halved when gradients overflow, doubled after 2000 steps without",
            choices=("fixed", "dynamic"),
        ),
        Key("loss_scale", 1.0, number(float, 1), "factor on the loss that keeps small gradients; fixed 1 is none"),
    ),
    training_only=True,
)


EVALUATION = Group(
    "Validation parameters",
    (
        Key("val_split", "val", path, "split to score"),
        Key(
            "crop_pct",
            0.875,
            number(float, 0, 1, above=0),
            "evaluation takes the central square with this share of the shorter side",
        ),
        Key("baselines", False, boolean, "score the untrained backbone and raw pixels, too", Changes.LOGS),
        Key("features_dir", None, path, "folder that keeps features for the next command; large", Changes.PATHS),
        Key("results", None, path, "file that each score is added to, a JSON object a line", Changes.PATHS),
    ),
)


def check_images(recipe):
    """What can be wrong between the keys of images.

    Raises:
        ValueError: mean and std are not on the 0-255 scale, or a batch has more numbers than a tensor can.
    """
    if max(recipe.std) <= 1:
        raise ValueError(f"std: {recipe.std} looks like a 0-1 scale; mean and std are for pixels of 0-255")
    numbers = 3 * recipe.batch_size * recipe.image_resize**2
    if numbers > LARGEST_INT:
        raise ValueError(
            f"batch_size: {recipe.batch_size} images of {recipe.image_resize} x {recipe.image_resize} pixels are "
            f"{numbers} numbers, and a tensor has at most {LARGEST_INT}; lower batch_size or image_resize"
        )


def check_optimizer(recipe):
    """What can be wrong between the keys of optimizer and scheduler.

    Raises:
        ValueError: Milestones are not in order, or Nesterov is asked for without a momentum.
    """
    milestones = recipe.multi_step_decay_milestones
    if list(milestones) != sorted(set(milestones)):
        raise ValueError(f"multi_step_decay_milestones: {' '.join(map(str, milestones))} do not ascend")
    if recipe.opt == "sgd" and recipe.use_nesterov and recipe.momentum == 0:
        raise ValueError("use_nesterov: looks ahead by the momentum, which is 0; set momentum, such as 0.9")


def warn_of_unused(recipe):
    """Says where of two keys that were given only one counts."""
    if recipe.lr is not None and "base_lr" in recipe.asked:
        logger.warning(f"base_lr: {recipe.base_lr:g} is not used: lr {recipe.lr:g} is given, and is the peak itself")
    if recipe.use_nesterov and recipe.opt != "sgd":
        logger.warning(f"use_nesterov: is not used: opt is {recipe.opt}, and only sgd has it")
    if recipe.amp_level == "O0" and "amp_dtype" in recipe.asked:
        logger.warning(f"amp_dtype: {recipe.amp_dtype} is not used: amp_level O0 computes in float32")
    if recipe.dataset_sink_mode:
        logger.warning(
            "dataset_sink_mode: True is not used, on any device: the host chooses between two graphs for each batch "
            "and sees signals after each step; a thread makes the next batches ready meanwhile"
        )
