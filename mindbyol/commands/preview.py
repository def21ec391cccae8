"""Shows what a recipe makes of its images, before a long run: a picture of the original and the two views of a few
images, with the operations that were drawn for each view.

    python scripts/preview.py --config configs/byol/byol_resnet50_imagenet_100e_ascend.yaml --data_dir imagenet
    python scripts/preview.py --output views.png --images 6 --epoch 3 --config ...

The views are those that training sees in this epoch, to the bit; so is what takes the place of an unreadable image.
All other flags are those of train.py.
"""

import argparse
import os
import textwrap
from pathlib import Path

from mindbyol.command import Parser, cut, one_line_errors, packages, quoted

with packages():
    os.environ["MPLBACKEND"] = "Agg"  # not the user's, which matplotlib may not have
    import matplotlib.pyplot as plt
    from matplotlib import font_manager

    from mindbyol.config import parse_args
    from mindbyol.config.values import LARGEST_INT, number, rgb
    from mindbyol.data import source_from_args, two_view_transform_from_args
    from mindbyol.data.decode import WHITE
    from mindbyol.data.keyed_random import permutation
    from mindbyol.data.names import printable
    from mindbyol.data.workers import BatchMaker
    from mindbyol.files import check_output, replacing

LARGEST_SHOWN = 1000  # pixels of the side of an original; matplotlib takes minutes for a hundred megapixels
FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf", ".svg")
DPI = 80
# In inches: a panel is a square with four lines of text under it, and has the next one beside it.
PANEL, TEXT, TITLE, GAP = 3.85, 0.72, 0.3, 0.12
LETTERS = 58  # of a line under a panel


def describe(operations):
    """The operations of a view in words, in their order, one a line."""
    lines = []
    for name, value in operations:
        if name == "crop":
            top, left, height, width = value
            lines.append(f"crop {width} x {height} at {left}, {top}")
        elif name == "saturation and hue":
            lines += [f"saturation {value[0]:.2f}", f"hue {value[1]:+.3f}"]
        elif value is None:
            lines.append(name)
        elif name in ("hue", "brightness"):
            lines.append(f"{name} {value:+.3f}")
        else:
            lines.append(f"{name} {value:.2f}" if name != "solarize" else f"solarize from {value}")
    return "\n".join(lines)


def drawable(text):
    """The text with a replacement character for each that the font of the picture has not got, such as emoji."""
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    return "".join(c if c == "\n" or font.get_char_index(ord(c)) else "\N{REPLACEMENT CHARACTER}" for c in text)


def draw_grid(source, transform, seed, epoch, indices, on_bad_image="stop", background=WHITE):
    """Draws a row an image: the original, the first view, the second view.

    Args:
        source (Source): The images.
        transform (TwoViewTransform): Makes the views.
        seed, epoch (int): Of the views.
        indices (sequence[int]): Which images.
        on_bad_image (str): As of `BatchMaker`; "skip" draws what training sees in the place of an unreadable image.
        background (tuple[int, int, int]): Of transparent images.

    Returns:
        tuple[matplotlib.figure.Figure, list[str]]: The grid, and what each original is called.

    Raises:
        DataError: An image cannot be read, and none is to take its place.
    """
    maker = BatchMaker(source, transform, seed, on_bad_image, background)
    width, height = 3 * PANEL + 4 * GAP, TITLE + len(indices) * (PANEL + TEXT)
    figure, names = plt.figure(figsize=(width, height)), []
    for row, index in enumerate(indices):
        used, (image,), unreadable = maker.read(index)
        names.append(source.name(used))
        instead = f" in the place of {source.name(index)}" if unreadable else ""
        texts = [f"{cut(Path(names[-1]).name)}\n{image.shape[1]} x {image.shape[0]}{cut(instead)}"]
        step = max(1, max(image.shape) // LARGEST_SHOWN)
        panels = [image[::step, ::step]]
        for view, pixels in enumerate(transform(image, seed, epoch, index).values()):
            panels.append(pixels.transpose(1, 2, 0))
            drawn = describe(transform.operations(image, seed, epoch, index, view)).splitlines()
            texts.append(textwrap.fill(", ".join(one.replace(" ", "\N{NO-BREAK SPACE}") for one in drawn), LETTERS))
        for column, (panel, text) in enumerate(zip(panels, texts)):
            left, bottom = GAP + column * (PANEL + GAP), height - TITLE - PANEL - row * (PANEL + TEXT)
            axis = figure.add_axes((left / width, bottom / height, PANEL / width, PANEL / height), anchor="N")
            axis.imshow(panel)
            axis.set_xlabel(drawable(text), fontsize=9, parse_math=False)  # "$" is just "$".
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(("original", "view 1", "view 2")[column], fontsize=11)
    return figure, names


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", default="preview.png", help=f"file to write, {', '.join(FORMATS)} (default: preview.png)"
    )
    images = number(int, 1, 178, why="the picture has a row of 366 pixels an image, and fewer than 65,536 in all")
    parser.add_argument("--images", type=images, default=4, help="number of images (default: 4)")
    parser.add_argument(
        "--epoch", type=number(int, 0, LARGEST_INT), default=0, help="epoch whose views are shown, from 0 (default: 0)"
    )
    own, recipe = parser.parse_known_args(argv)
    suffix = Path(own.output).suffix
    if suffix.lower() not in FORMATS:
        raise ValueError(
            f"--output: {quoted(own.output)} ends in none of {', '.join(FORMATS)}, so its format is not known"
        )
    output = check_output(own.output, suffix)
    args = parse_args(recipe)
    source = source_from_args(args, args.train_split, args.num_samples)
    indices = permutation(args.seed, own.epoch, len(source))[: own.images].tolist()
    transform = two_view_transform_from_args(args)
    figure, names = draw_grid(source, transform, args.seed, own.epoch, indices, args.on_bad_image, rgb(args.background))
    with replacing(output) as beside:
        figure.savefig(beside, format=suffix[1:].lower(), dpi=DPI)
    print(
        f"{printable(own.output)}: {len(indices)} images of {source.description}, epoch {own.epoch}, seed {args.seed}"
    )
    for row, (index, name) in enumerate(zip(indices, names), 1):
        if name != source.name(index):
            print(f"   row {row}: {source.name(index)} cannot be read, {name} takes its place as in training")
        elif drawable(name) != name:
            print(f"   row {row}: {name}")
