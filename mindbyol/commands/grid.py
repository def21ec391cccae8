"""Trains a recipe with every combination of some values, and says which is best.

    python scripts/grid.py --config configs/finetune/semi_1percent_resnet50_mmselfsup_in1k_ascend.yaml \\
        --vary lr=0.1,0.01,0.001 --vary head_lr_mult=1,10,100 --output ckpt/semi_1percent \\
        --data_dir /path/to/imagenet --train_list 1percent.txt --pretrained_from byol.ckpt

All other flags are train.py's. Of a seed that varies, means are compared. A grid that was stopped goes on when it is
started again.
"""

import argparse
import itertools
import shlex

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.config import parse_args
    from mindbyol.experiments import TRAIN, Runs, curve, mean_and_spread, shown, table
    from mindbyol.terminal import setup_logging


def axis(text):
    """`lr=0.1,0.01` as a key and its values."""
    key, equals, values = text.partition("=")
    values = values.split(",")
    if not (key and equals and all(values)):
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE,VALUE,...")
    if len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"'{text}' has a value twice")
    return key, values


CLASSIFIERS = ("linear", "multihead", "finetune")  # tasks that score themselves by top1 and top5 while they train


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vary", type=axis, action="append", required=True, help="KEY=VALUE,VALUE,...; repeat it")
    parser.add_argument("--output", required=True, help="folder; a run of each combination is in it")
    parser.add_argument("--launch", help="what trains, such as 'msrun --worker_num 8 --join True python train.py'")
    args, flags = parser.parse_known_args(argv)
    setup_logging()

    keys = [key for key, _ in args.vary]
    grid = list(itertools.product(*(values for _, values in args.vary)))
    settings = [[word for key, value in zip(keys, point) for word in (f"--{key}", value)] for point in grid]
    for of_point in settings:  # what is wrong with a value comes out before the first run
        recipe = parse_args([*flags, *of_point], "train")
    if recipe.task not in CLASSIFIERS:
        raise ValueError(f"--config: task {recipe.task} trains no classifier; take one of {', '.join(CLASSIFIERS)}")
    if not recipe.val_while_train:
        raise ValueError("val_while_train: is off, so there would be no score to compare; leave the key out")

    runs = Runs(args.output, shlex.split(args.launch) if args.launch else TRAIN)
    scores = {}
    for point, of_point in zip(grid, settings):
        name = "-".join(f"{key}_{value}" for key, value in zip(keys, point))
        scores[point] = curve(runs.train(name, *flags, *of_point))[-1]
        print(f"{name}: top-1 {scores[point]['top1']:.2f} %, top-5 {scores[point]['top5']:.2f} %", flush=True)
    print(report(keys, scores))


def report(keys, scores):
    """The table of a grid, and its best setting.

    Args:
        keys (list[str]): What varies.
        scores (dict[tuple[str], dict]): `top1` and `top5` by the values of the keys.

    Returns:
        str: A row a setting; of a seed that varies, means and standard deviations.
    """
    compared = [place for place, key in enumerate(keys) if key != "seed"]
    settings = {}
    for point, found in scores.items():
        settings.setdefault(tuple(point[place] for place in compared), []).append(found)
    header = [*(keys[place] for place in compared), "top-1", "top-5"]
    rows = [
        [*setting, *(shown([one[score] for one in found]) for score in ("top1", "top5"))]
        for setting, found in settings.items()
    ]
    best = max(settings, key=lambda setting: mean_and_spread([one["top1"] for one in settings[setting]])[0])
    named = ", ".join(f"{keys[place]} {value}" for place, value in zip(compared, best)) or "the only setting"
    return f"\n{table(header, rows)}\n\nbest top-1: {named}"
