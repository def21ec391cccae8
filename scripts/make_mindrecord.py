"""Turns a data set into MindRecord shards, which `dataset: mindrecord` reads with the same order and the same views.

    python scripts/make_mindrecord.py --dataset imagenet --data_dir imagenet --split train --output_dir imagenet-mr
    python train.py --config ... --dataset mindrecord --data_dir imagenet-mr

Each shard is compared with the data set before it counts. If it is stopped, start it again: it goes on where it was.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mindbyol  # noqa: E402,F401  (first: it sets up the CPU before MindSpore is imported)
from mindbyol.data import create_source  # noqa: E402
from mindbyol.data.mindrecord import write_split  # noqa: E402
from mindbyol.data.names import printable  # noqa: E402
from mindbyol.data.sources import DATASETS  # noqa: E402


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, choices=[name for name in DATASETS if name != "mindrecord"])
    parser.add_argument("--data_dir", help="folder of the data set")
    parser.add_argument("--split", default="train", help="split to turn into shards (default: train)")
    parser.add_argument("--output_dir", required=True, help="folder for the shards")
    parser.add_argument(
        "--shard_mb", type=int, default=1024, help="size of a shard in MB, at most 20000 (default: 1024)"
    )
    parser.add_argument("--num_samples", type=int, help="only so many images, evenly spaced")
    args = parser.parse_args(argv)
    if not 0 < args.shard_mb <= 20_000:
        parser.error(f"--shard_mb is {args.shard_mb}; it must lie in 1..20000")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        source = create_source(args.dataset, args.data_dir, args.split, num_samples=args.num_samples)
        write_split(source, args.output_dir, args.split, args.shard_mb * 1_000_000)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    folder = printable(args.output_dir)
    print(f"{source.description}: in {folder}; use it with --dataset mindrecord --data_dir {folder}")


if __name__ == "__main__":
    main()
