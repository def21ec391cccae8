"""What some epochs of BYOL on unlabelled images give a classifier, on STL10: accuracy without and with them.

    bash scripts/stl10_experiment.sh --data_dir /path/to/stl10 --init resnet18-imagenet.ckpt
    bash scripts/stl10_experiment.sh --data_dir /path/to/stl10            # from nothing

For each seed: (a) ResNet-18 is trained on the 5,000 labelled images and scored on the 8,000 of the test split; (b) it
first sees the 100,000 unlabelled ones with BYOL, then the same training. Both start from the same weights and train
with the same recipe. An experiment that was stopped goes on when it is started again.
"""

import argparse
from pathlib import Path

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.config import parse_args
    from mindbyol.config.values import COUNT, number
    from mindbyol.experiments import Runs, backbone, curve, plot, shown, table
    from mindbyol.terminal import setup_logging

# The published pair is of an ImageNet-initialised ResNet-18 and ten epochs of BYOL.
PUBLISHED = {"without BYOL": "84.58", "with BYOL": "87.61"}


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, help="folder with STL10's binary files")
    parser.add_argument("--init", help="weights that both start from: MindCV's .ckpt, torchvision's .pth, ...")
    parser.add_argument("--byol_epochs", type=COUNT, default=10)
    parser.add_argument("--epochs", type=COUNT, help="of the classifier; those of its recipe by default")
    parser.add_argument("--seeds", type=number(int, 0, 2**32 - 1), nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", default="ckpt/stl10_experiment", help="folder of the runs, the table and the plot")
    parser.add_argument("--byol_config", default="configs/byol/byol_resnet18_stl10_10e.yaml")
    parser.add_argument("--finetune_config", default="configs/finetune/finetune_resnet18_stl10.yaml")
    args = parser.parse_args(argv)
    setup_logging()
    if len(set(args.seeds)) < len(args.seeds):
        raise ValueError("--seeds: one stands there twice")

    data = ["--data_dir", args.data_dir]
    start = ["--pretrained_from", args.init] if args.init else []
    byol = ["--config", args.byol_config, *data, *start, "--epoch_size", str(args.byol_epochs)]
    classify = ["--config", args.finetune_config, *data]
    classify += ["--epoch_size", str(args.epochs)] if args.epochs else []
    for flags in (byol, [*classify, *start]):  # what is wrong with them comes out before the first run
        parse_args(flags, "train")

    runs = Runs(args.output)
    curves = {name: [] for name in PUBLISHED}
    for seed in map(str, args.seeds):
        without = runs.train(f"without-{seed}", *classify, *start, "--seed", seed)
        curves["without BYOL"].append(curve(without))
        pretrained = backbone(runs.train(f"byol-{seed}", *byol, "--seed", seed))
        after = runs.train(f"with-{seed}", *classify, "--pretrained_from", pretrained, "--seed", seed)
        curves["with BYOL"].append(curve(after))
    folder = Path(args.output)
    plot(folder / "stl10.png", {name: _line(found) for name, found in curves.items()}, "epoch", "top-1, %")
    text = report(curves, args.byol_epochs, args.init)
    (folder / "stl10.md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\nplot: {folder / 'stl10.png'}")


def _line(curves):
    """Epochs, and at each the top-1 of all seeds."""
    return [point["epoch"] for point in curves[0]], [[point["top1"] for point in at] for at in zip(*curves)]


def report(curves, byol_epochs, init):
    """The table of the experiment.

    Args:
        curves (dict[str, list]): Without and with BYOL: the `curve` of each seed.
        byol_epochs (int): Of BYOL.
        init (str): Weights that all start from; None for none.

    Returns:
        str: Top-1 and top-5 of the last epoch, mean and standard deviation over the seeds, the published pair beside.
    """
    rows = []
    for name, of_seeds in curves.items():
        last = [points[-1] for points in of_seeds]
        rows.append([name, *(shown([one[score] for one in last]) for score in ("top1", "top5")), PUBLISHED[name]])
    seeds = len(next(iter(curves.values())))
    start = f"from {Path(init).name}" if init else "from nothing"
    header = [f"ResNet-18 {start}, {seeds} seeds", "top-1", "top-5", "published top-1 (from ImageNet, 10 epochs)"]
    return f"{table(header, rows)}\n\n{byol_epochs} epochs of BYOL on the unlabelled split"
