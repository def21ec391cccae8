"""Converts a checkpoint of any known project into mindbyol's.

    python scripts/convert_checkpoint.py epoch_200.pth -o byol_r50.ckpt

The file says what it is; `--from` only makes sure. What does not match is an error. A file with nothing but a backbone
gives a backbone-only checkpoint with MindCV's names, any other one a checkpoint with all that was found.
"""

import argparse

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.weights.convert import convert
    from mindbyol.weights.layouts import FAMILIES


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="checkpoint file; PyTorch is not needed, and nothing in it is executed")
    parser.add_argument("-o", "--output", required=True, help="file to write, ending in .ckpt")
    parser.add_argument("--from", dest="family", default="auto", help=f"auto, or one of {', '.join(FAMILIES)}")
    parser.add_argument("--model", help="MindCV's name of the network, for others than ResNets without a model card")
    parser.add_argument(
        "--padding",
        choices=("mindcv", "torch", "same"),
        help="over what the family says: `same` for DeepMind's weights that came as a PyTorch file",
    )
    parser.add_argument("--allow-unmatched", action="store_true", help="leave out what does not match")
    args = parser.parse_args(argv)
    for line in convert(args.source, args.output, args.family, args.model, args.padding, args.allow_unmatched):
        print(line)
