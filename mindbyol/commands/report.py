"""Writes report.html again, of the folder of a run or of a suite: with the scores and pictures that it has by now.

    python scripts/report.py ckpt/digits

The page needs nothing but itself. It shows the curves, scores.jsonl, config.yaml, and of the pictures views.png,
label_efficiency.png, changed_neighbours.png, map.png and neighbours.png those that are there.
"""

import argparse

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.data.names import printable
    from mindbyol.reports import report


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of a run that train.py made, or of a suite")
    args = parser.parse_args(argv)
    for folder in args.folders:
        print(printable(report.write(folder)))
