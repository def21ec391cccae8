"""What a start is worth where labels are few: fine-tunes from each, on few labels and on more, several times.

    python scripts/few_labels.py --config configs/finetune/finetune_fashion_mnist_cpu.yaml \\
        --start BYOL=ckpt/fashion_mnist_2/resnet18-1_1875_backbone.ckpt --start nothing \\
        --labels 10:60 50:24 200:10 --seeds 0 1 2 --output ckpt/few_labels

`--labels 10:60` are 10 labels a class and 60 epochs. The seed draws the labelled images, the classifier's first
weights, order and views, the same for all starts. All other flags are train.py's. What was stopped goes on when it is
started again.
"""

import argparse
from pathlib import Path

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.config import parse_args
    from mindbyol.config.values import COUNT, number
    from mindbyol.experiments import Runs, curve, plot, shown, table
    from mindbyol.terminal import setup_logging

NOTHING = "nothing"


def start(text):
    """`NAME=FILE`, or `nothing`."""
    name, _, path = text.partition("=")
    if not name or (not path and text != NOTHING):
        raise argparse.ArgumentTypeError(f"'{text}' is neither NAME=FILE nor {NOTHING}")
    return name, path or None


def labels(text):
    """`10:60`: labels a class, and epochs."""
    count, colon, epochs = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"'{text}' is not LABELS:EPOCHS, such as 10:60")
    return COUNT(count), COUNT(epochs)


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=start, action="append", required=True, help="NAME=FILE, or nothing; repeat it")
    parser.add_argument("--labels", type=labels, nargs="+", required=True, help="LABELS_A_CLASS:EPOCHS")
    parser.add_argument("--seeds", type=number(int, 0, 2**32 - 1), nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", required=True, help="folder of the runs, the table and the plot")
    args, flags = parser.parse_known_args(argv)
    setup_logging()
    starts = dict(args.start)
    for what, given in (("--start", args.start), ("--labels", args.labels), ("--seeds", args.seeds)):
        names = [one[0] if isinstance(one, tuple) else one for one in given]
        if len(set(names)) < len(names):
            raise ValueError(f"{what}: one stands there twice")

    def of_run(name, count, epochs, seed):
        weights = ["--pretrained_from", starts[name]] if starts[name] else []
        chosen = ["--labels_per_class", str(count), "--epoch_size", str(epochs), "--seed", str(seed)]
        return [*flags, *chosen, *weights]

    for name in starts:  # what is wrong with a flag comes out before the first run
        if starts[name] and not Path(starts[name]).is_file():
            raise FileNotFoundError(f"--start: no file '{starts[name]}'")
        parse_args(of_run(name, *args.labels[0], args.seeds[0]), "train")

    runs, top1 = Runs(args.output), {}
    for seed in args.seeds:
        for count, epochs in args.labels:
            for name in starts:
                folder = runs.train(f"{name}-{count}-{seed}", *of_run(name, count, epochs, seed))
                top1.setdefault((name, count), []).append(curve(folder)[-1]["top1"])
    counts = [count for count, _ in args.labels]
    text = report(list(starts), counts, top1)
    lines = {name: (counts, [top1[name, count] for count in counts]) for name in starts}
    folder = Path(args.output)
    plot(folder / "few_labels.png", lines, "labels a class", "top-1, %", logarithmic=True)
    (folder / "few_labels.md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\nplot: {folder / 'few_labels.png'}")


def report(starts, counts, top1):
    """The table of the experiment.

    Args:
        starts (list[str]): What they are called.
        counts (list[int]): Labels a class.
        top1 (dict[tuple[str, int], list[float]]): By start and count, a number a seed, in percent.

    Returns:
        str: A row a start; means and standard deviations over the seeds.
    """
    header = ["start", *(f"{count} labels a class" for count in counts)]
    return table(header, [[name, *(shown(top1[name, count]) for count in counts)] for name in starts])
