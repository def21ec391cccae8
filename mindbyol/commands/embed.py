"""Features of every image in a folder, with file names.

    python scripts/embed.py --ckpt_path byol_r50.ckpt --data_dir photos -o features.npz
    msrun --worker_num 2 --local_worker_num 2 scripts/embed.py --ckpt_path byol_r50.ckpt ...

The checkpoint may be any that convert_checkpoint.py reads. A run that was stopped goes on when it is started again.
"""

import argparse
import logging

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.config.values import IMAGE_SIZE, WORKERS, colour, number, rgb
    from mindbyol.data import LoaderSettings, create_source
    from mindbyol.data.names import printable
    from mindbyol.evaluation.embedding import Embedding, prepare
    from mindbyol.files import check_output
    from mindbyol.runtime import setup
    from mindbyol.terminal import native_lines_above_bar
    from mindbyol.weights.subject import open_subject


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", required=True)
    parser.add_argument("--model", help="MindCV's name of the network, for others than ResNets without a model card")
    parser.add_argument("--data_dir", required=True, help="folder; images at any depth")
    parser.add_argument("-o", "--output", required=True, help="file to write: .npz, .csv or .parquet")
    parser.add_argument("--batch_size", type=number(int, 1, 65536), default=64)
    parser.add_argument(
        "--image_resize",
        type=IMAGE_SIZE,
        help="side in pixels; the one of the training by default, else 224",
    )
    parser.add_argument(
        "--crop_pct",
        type=number(float, maximum=1, above=0),
        default=0.875,
        help="side of the centre crop, of the shorter side",
    )
    parser.add_argument(
        "--background",
        type=colour,
        help="what is seen through transparent pixels; as in the training by default, else white",
    )
    parser.add_argument(
        "--on_bad_image",
        choices=("leave_out", "stop"),
        default="leave_out",
        help="images that cannot be read have no row, however many they are (leave_out), or the first ends it (stop)",
    )
    parser.add_argument("--num_parallel_workers", type=WORKERS)
    parser.add_argument("--device_target", choices=("Ascend", "GPU", "CPU"))
    args = parser.parse_args(argv)

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    world = setup(args.device_target)
    check_output(args.output)
    source = create_source("folder", args.data_dir, split=".")
    subject = open_subject(args.ckpt_path, args.model, args.image_resize)
    transform, extractor = prepare(subject, args.crop_pct)
    size, padding = transform.size, subject.card.padding
    background = args.background or subject.card.background or "white"
    settings = LoaderSettings(
        args.batch_size,
        rank=world.rank,
        ranks=world.ranks,
        num_parallel_workers=args.num_parallel_workers,
        on_bad_image=args.on_bad_image,
        background=rgb(background),
    )
    identity = f"{subject.digest} {padding} {size} {args.crop_pct}"
    embedding = Embedding(source, transform, args.output, identity, settings)
    print(
        f"{subject.found}; {source.description}; {size} px, crop {args.crop_pct}, background {background}, padding "
        f"{padding}"
    )
    with native_lines_above_bar():
        written = embedding.run(extractor, progress=world.rank == 0)
    if written:
        print(f"wrote {printable(args.output)}: features {written.rows} x {written.width}, float32, and as many names")
