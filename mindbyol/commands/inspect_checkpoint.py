"""Says what a weights file is: its model card, what it holds, how many parameters, and their digests.

    python scripts/inspect_checkpoint.py byol_r50.ckpt

Reads every format that convert_checkpoint.py reads and export.py writes. Equal digests mean equal weights, whatever the
formats of the two files.
"""

import argparse

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.weights.describe import describe


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="checkpoint file")
    parser.add_argument("--model", help="MindCV's name of the network, for others than ResNets without a model card")
    args = parser.parse_args(argv)
    for line in describe(args.path, args.model):
        print(line)
