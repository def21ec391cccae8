"""The commands: a module each, with `main(argv=None)`; `mindbyol NAME ...` runs all but train.py and validate.py."""

import importlib
import sys

from mindbyol.command import cut, one_line_errors

# Name: its module, and what it does.
COMMANDS = {
    "compare": ("compare", "a backbone beside the untrained one and raw pixels: table and pictures"),
    "convert": ("convert", "turn a checkpoint of another project into mindbyol's"),
    "embed": ("embed", "features of every image in a folder"),
    "export": ("export", "hand a backbone to another project"),
    "few-labels": ("few_labels", "what a start is worth where labels are few: table and plot"),
    "grid": ("grid", "train a recipe with every combination of some values"),
    "inspect": ("inspect_checkpoint", "say what a weights file is"),
    "make-mindrecord": ("make_mindrecord", "turn a data set into MindRecord shards"),
    "make-stamps": ("make_stamps", "compose a small data set with boxes and masks"),
    "map": ("map", "draw a map of features, and images with their nearest neighbours"),
    "plot": ("plot", "draw the curves of training runs"),
    "preview": ("preview", "show what a recipe makes of its images"),
    "report": ("report", "write the page of a run or a suite again"),
    "stl10-experiment": ("stl10_experiment", "what BYOL on STL10's unlabelled images gives a classifier"),
}


def main(argv=None):
    """`mindbyol NAME ...`: runs one of `COMMANDS`; without a name it lists them."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in ("-h", "--help"):
        names = "\n".join(f"  {name:<18}{what}" for name, (_, what) in COMMANDS.items())
        print(f"usage: mindbyol COMMAND [...]\n\n{names}\n\nmindbyol COMMAND --help says more.")
        return
    with one_line_errors("mindbyol"):
        if argv[0] not in COMMANDS:
            raise ValueError(f"{cut(argv[0])}: no such command; there are {', '.join(COMMANDS)}")
    sys.argv[0] = f"mindbyol {argv[0]}"
    importlib.import_module(f"mindbyol.commands.{COMMANDS[argv[0]][0]}").main(argv[1:])
