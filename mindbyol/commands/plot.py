"""Draws the curves of training runs as a PNG: a panel a series, the runs on top of one another.

    python scripts/plot.py ckpt/digits -o curves.png
    python scripts/plot.py ckpt/seed_1 ckpt/seed_2 --series byol_loss probe_accuracy -o seeds.png

Reads metrics.jsonl of each run, also while it trains. A series alone is as wide as a column of a paper.
"""

import argparse

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.data.names import printable
    from mindbyol.reports import curves, drawing, metrics


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, or its metrics.jsonl")
    parser.add_argument("-o", "--output", default="curves.png", help="PNG file to write (default: curves.png)")
    parser.add_argument(
        "--series", nargs="+", metavar="KEY", help="keys of metrics.jsonl; by default all that are there"
    )
    parser.add_argument("--x", choices=("step", "epoch"), default="step", help="what the x axis counts (default: step)")
    args = parser.parse_args(argv)
    output = drawing.check_png(args.output)
    runs = [metrics.read(run) for run in args.runs]
    drawing.save(curves.draw(runs, args.series, args.x == "epoch"), output)
    shown = args.series or curves.series_of(runs)
    print(f"{printable(output)}: {', '.join(shown)} of {', '.join(printable(name) for name in curves.unlike(runs))}")
