"""Turns a data set into MindRecord shards, which `dataset: mindrecord` reads with the same order and the same views.

    python scripts/make_mindrecord.py --dataset imagenet --data_dir imagenet --split train --output_dir imagenet-mr
    python train.py --config ... --dataset mindrecord --data_dir imagenet-mr

Each shard is compared with the data set before it counts. If it is stopped, start it again: it goes on where it was.
"""

import argparse
import logging

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    import mindspore  # noqa: F401  (here, where Ctrl-C is harmless, not when the first shard is written)

    from mindbyol.config.values import COUNT, number
    from mindbyol.data import create_source
    from mindbyol.data.mindrecord import write_split
    from mindbyol.data.names import printable
    from mindbyol.data.sources import DATASETS


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, choices=[name for name in DATASETS if name != "mindrecord"])
    parser.add_argument("--data_dir", help="folder of the data set")
    parser.add_argument("--split", default="train", help="split to turn into shards (default: train)")
    parser.add_argument("--output_dir", required=True, help="folder for the shards")
    parser.add_argument(
        "--shard_mb",
        type=number(int, 1, 20_000),
        default=1024,
        help="size of a shard in MB, at most 20000 (default: 1024)",
    )
    parser.add_argument("--num_samples", type=COUNT, help="only so many images, evenly spaced")
    args = parser.parse_args(argv)
    if "/" in args.split or args.split in (".", ".."):
        parser.error(f"--split: '{args.split}' is a path; shards are called by the name of the split")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    source = create_source(args.dataset, args.data_dir, args.split, num_samples=args.num_samples)
    write_split(source, args.output_dir, args.split, args.shard_mb * 1_000_000)
    folder = printable(args.output_dir)
    print(f"{source.description}: in {folder}; use it with --dataset mindrecord --data_dir {folder}")
