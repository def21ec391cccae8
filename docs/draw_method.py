"""Draws the method: `python docs/draw_method.py` writes docs/method.svg, the picture of the README.

The photograph is one of scikit-learn's, the views are those of mindbyol's own augmentation.
"""

import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from sklearn.datasets import load_sample_image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mindbyol.data.views import TwoViewTransform  # noqa: E402
from mindbyol.files import replacing  # noqa: E402

ONLINE, TARGET, LOSS, INK = "#2a5f9e", "#c2622d", "#3c7d4a", "#222222"
SIZE = 160  # pixels of a view
UPPER, LOWER = 3.05, 0.95  # heights of the two rows


def box(axes, x, y, text, colour, width=1.5, height=0.8):
    """A rounded box around a text, its middle at (x, y)."""
    corner = x - width / 2, y - height / 2
    style = "round,pad=0.02,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, edgecolor="none"))
    axes.text(x, y, text, ha="center", va="center", color="white", fontsize=11, linespacing=1.35)


def arrow(axes, start, end, colour=INK, style="-", bend=0.0):
    """An arrow from one point to another."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=14,
            linewidth=1.6,
            linestyle=style,
            color=colour,
            connectionstyle=f"arc3,rad={bend}",
        )
    )


def picture(axes, image, x, y, side):
    """An image, its middle at (x, y)."""
    axes.imshow(image, extent=(x - side / 2, x + side / 2, y - side / 2, y + side / 2), zorder=2)


def draw():
    """The figure."""
    photo = load_sample_image("china.jpg")
    views = TwoViewTransform(SIZE)(photo, seed=8, epoch=0, index=0)
    figure = Figure(figsize=(11.6, 4.5))
    axes = figure.subplots()
    picture(axes, photo[:, 106:533], 0.95, 2.0, 1.5)
    axes.text(0.95, 1.08, "an image,\nno label", ha="center", va="top", fontsize=10.5, color=INK)
    rows = (
        (UPPER, "view_1", "view 1", ONLINE, "online"),
        (LOWER, "view_2", "view 2", TARGET, "target"),
    )
    for y, key, name, colour, network in rows:
        picture(axes, views[key].transpose(1, 2, 0), 3.0, y, 1.2)
        axes.text(3.0, y - 0.68, name, ha="center", va="top", fontsize=10.5, color=INK)
        arrow(axes, (1.75, 2.0 + (y - 2.0) * 0.25), (2.33, y))
        box(axes, 4.85, y, f"backbone\n({network})", colour)
        box(axes, 6.95, y, f"projector\n({network})", colour)
        arrow(axes, (3.65, y), (4.05, y))
        arrow(axes, (5.65, y), (6.15, y))
    box(axes, 9.05, UPPER, "predictor", ONLINE)
    arrow(axes, (7.75, UPPER), (8.25, UPPER))
    axes.text(8.0, UPPER + 0.12, "z", ha="center", va="bottom", fontsize=11, style="italic", color=INK)
    box(axes, 10.85, 2.0, "loss: 2 - 2 cos(p, z')\n+ the same with\nviews swapped", LOSS, width=1.75, height=1.1)
    arrow(axes, (9.85, UPPER), (10.85, 2.6), bend=-0.25)
    axes.text(10.5, UPPER - 0.05, "p", ha="center", va="bottom", fontsize=11, style="italic", color=INK)
    arrow(axes, (7.75, LOWER), (10.85, 1.4), bend=0.2)
    axes.text(8.1, LOWER + 0.12, "z'", ha="center", va="bottom", fontsize=11, style="italic", color=INK)
    axes.text(9.0, LOWER - 0.3, "no gradient", ha="center", va="top", fontsize=10, color=TARGET)
    for x in (4.85, 6.95):
        arrow(axes, (x, UPPER - 0.45), (x, LOWER + 0.47), TARGET, style="--")
    axes.text(
        5.9,
        2.0,
        "a slow average of it:\ntau target + (1 - tau) online",
        ha="center",
        va="center",
        fontsize=9.5,
        color=TARGET,
    )
    axes.text(
        5.9,
        UPPER + 0.62,
        "learns by gradient; its backbone is what you keep",
        ha="center",
        va="bottom",
        fontsize=10,
        color=ONLINE,
    )
    axes.set(xlim=(0.1, 11.85), ylim=(0.0, 4.05), aspect="equal")
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    return figure


def main():
    matplotlib.rcParams.update({"svg.hashsalt": "mindbyol", "svg.fonttype": "path"})  # the same file each time
    output = Path(__file__).with_name("method.svg")
    with replacing(output) as beside:
        draw().savefig(beside, format="svg", facecolor="white", metadata={"Date": None}, dpi=100)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
