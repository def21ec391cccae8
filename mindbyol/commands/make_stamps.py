"""Composes a small data set with boxes and masks from cut-outs of Debian's package tuxpaint-stamps-default.

    python scripts/make_stamps.py --output_dir stamps

Animals, fruit and flowers are laid on photographs; some cover others, some stand in crowds. The same scenes are written
in three layouts, with exact boxes and masks:
    stamps/VOCdevkit     VOC 2012 (splits train, val): 7 classes in VOC2012/classes.txt; background is id 0 of masks
    stamps/coco          COCO 2017 (splits train, val)
    stamps/cityscapes    Cityscapes (splits train, val): classes.txt has the names of the label ids, background first
The cut-outs of val are others than those of train. The scenes are a function of the flags.
"""

import argparse
import os
import shutil
from pathlib import Path

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    from mindbyol.config.values import COUNT, number
    from mindbyol.data import stamps, stamps_layouts


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True, help="folder to make")
    parser.add_argument("--train", type=COUNT, default=400, help="scenes to train on (default: 400)")
    parser.add_argument("--val", type=COUNT, default=100, help="scenes to score with (default: 100)")
    parser.add_argument("--size", type=number(int, 64, 2048), default=320, help="longer side in pixels (default: 320)")
    parser.add_argument("--seed", type=number(int, 0, 2**32 - 1), default=0)
    parser.add_argument("--stamps_dir", type=Path, default=stamps.STAMPS, help=f"cut-outs (default: {stamps.STAMPS})")
    args = parser.parse_args(argv)
    folder = args.output_dir.absolute()
    if os.path.lexists(folder):
        raise FileExistsError(f"--output_dir: {args.output_dir} is there already; name a folder to make")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"--output_dir: {folder.parent} is no folder; make it first")
    cutouts = stamps.find_cutouts(args.stamps_dir)
    beside = folder.with_name(f".{folder.name}.partial")  # gets its name when it is whole
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        counts = {"train": args.train, "val": args.val}
        made = stamps_layouts.write(beside, cutouts, counts, args.size, args.seed)
        os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    what = ", ".join(f"{count} {name}" for name, count in made.items())
    print(f"{args.output_dir}: {what}, {len(stamps.CLASSES)} classes, in VOCdevkit, coco and cityscapes")
