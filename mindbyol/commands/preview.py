"""Shows what a recipe makes of its images, before a long run: a PNG of the original and the two views of a few images,
with the operations that were drawn for each view.

    python scripts/preview.py --config configs/byol/byol_resnet50_imagenet_100e_ascend.yaml --data_dir imagenet
    python scripts/preview.py --output views.png --images 6 --epoch 3 --config ...

The views are those that training sees in this epoch, to the bit. All other flags are those of train.py.
"""

import argparse
import os
from pathlib import Path

from mindbyol.command import Parser, cut, one_line_errors, packages

with packages():
    os.environ["MPLBACKEND"] = "Agg"  # not the user's, which matplotlib may not have
    import matplotlib.pyplot as plt

    from mindbyol.config import parse_args
    from mindbyol.config.values import LARGEST_INT, number
    from mindbyol.data import DataError, source_from_args, two_view_transform_from_args
    from mindbyol.data.decode import decode
    from mindbyol.data.keyed_random import permutation
    from mindbyol.data.names import printable
    from mindbyol.files import check_output, replacing

LARGEST_SHOWN = 1000  # pixels of the side of an original; matplotlib takes minutes for a hundred megapixels


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


def draw_grid(source, transform, seed, epoch, indices):
    """Draws a row an image: the original, the first view, the second view.

    Returns:
        matplotlib.figure.Figure: The grid.
    """
    figure, axes = plt.subplots(len(indices), 3, figsize=(9, 4.3 * len(indices)), squeeze=False)
    for row, index in zip(axes, indices):
        try:
            image = decode(source[index])
        except DataError as error:
            raise DataError(f"{source.name(index)}: {error}") from error
        step = max(1, max(image.shape) // LARGEST_SHOWN)
        row[0].imshow(image[::step, ::step])
        name = cut(Path(source.name(index)).name)
        row[0].set_xlabel(f"{name}\n{image.shape[1]} x {image.shape[0]}", parse_math=False)  # "$" is just "$".
        for view, pixels in enumerate(transform(image, seed, epoch, index).values()):
            row[view + 1].imshow(pixels.transpose(1, 2, 0))
            row[view + 1].set_xlabel(describe(transform.operations(image, seed, epoch, index, view)), fontsize=8)
        for axis, title in zip(row, ("original", "view 1", "view 2")):
            axis.set_title(title)
            axis.set_xticks([])
            axis.set_yticks([])
    figure.tight_layout()
    return figure


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="preview.png", help="PNG file to write (default: preview.png)")
    images = number(int, 1, 190, why="the picture has a row of 344 pixels an image, and fewer than 65,536 in all")
    parser.add_argument("--images", type=images, default=4, help="number of images (default: 4)")
    parser.add_argument(
        "--epoch", type=number(int, 0, LARGEST_INT), default=0, help="epoch whose views are shown, from 0 (default: 0)"
    )
    own, recipe = parser.parse_known_args(argv)
    args = parse_args(recipe)
    output = check_output(own.output, ".PNG" if own.output.endswith(".PNG") else ".png")
    source = source_from_args(args, args.train_split, args.num_samples)
    indices = permutation(args.seed, own.epoch, len(source))[: own.images].tolist()
    figure = draw_grid(source, two_view_transform_from_args(args), args.seed, own.epoch, indices)
    with replacing(output) as beside:
        figure.savefig(beside, format="png", dpi=80)
    print(
        f"{printable(own.output)}: {len(indices)} images of {source.description}, epoch {own.epoch}, seed {args.seed}"
    )
