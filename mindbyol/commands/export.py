"""Hands the online backbone of a checkpoint to another project, and checks what was written.

    python scripts/export.py byol_r50.ckpt --format torchvision -o byol_r50.pth
"""

import argparse
from pathlib import Path

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.files import check_output
    from mindbyol.weights.export import FORMATS, export
    from mindbyol.weights.reading import read_weights


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpt_path", help="mindbyol's checkpoint, or any that convert_checkpoint.py reads")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("-o", "--output", help="file to write; beside the checkpoint if not given")
    parser.add_argument("--model", help="MindCV's name of the network, for others than ResNets without a model card")
    parser.add_argument("--heads", action="store_true", help="the projector too")
    args = parser.parse_args(argv)

    source = Path(args.ckpt_path)
    output = (
        Path(args.output) if args.output else source.with_name(f"{source.stem}-{args.format}{FORMATS[args.format]}")
    )
    check_output(output, FORMATS[args.format], source)
    weights = read_weights(source, model=args.model)
    print(weights.found)
    for line in export(weights, output, args.format, args.heads):
        print(line)
    print(f"wrote {output}")
