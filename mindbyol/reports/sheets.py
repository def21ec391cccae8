"""Sheets of images: queries with their nearest neighbours."""

from typing import NamedTuple, Optional

import numpy as np

from mindbyol.reports.drawing import MUTED, PAGE, RIGHT, WRONG, drawable, new_figure, styled

_GAP, _CAPTION = 0.07, 0.24  # inches: between tiles, and below one
_MOST_PIXELS = 160  # of the side of a tile; more cannot be seen


class Tile(NamedTuple):
    """An image of a sheet.

    Attributes:
        image (ndarray): uint8 (H, W, 3); None for one that cannot be read.
        caption (str): Its class, or its name.
        note (str): A second, smaller line.
        right (bool): Whether its class is the query's; None where there are no classes.
    """

    image: Optional[np.ndarray]
    caption: str = ""
    note: str = ""
    right: Optional[bool] = None


class Block(NamedTuple):
    """A query and its neighbours.

    Attributes:
        query (Tile): The query.
        rows (dict[str, list[Tile]]): Neighbours, the nearest first, by what found them.
    """

    query: Tile
    rows: dict


@styled()
def draw_neighbours(blocks, title="", across=1):
    """Draws queries, each with its neighbours to the right; a neighbour of another class has a frame and a cross.

    Args:
        blocks (list[Block]): Each with the same rows.
        title (str): What is shown, in lines.
        across (int): Blocks beside each other.

    Returns:
        Figure: As wide as a page.
    """
    names = list(blocks[0].rows)
    most = max(len(tiles) for block in blocks for tiles in block.rows.values())
    label = 0.62 if any(names) else 0.12
    title = "\n".join(drawable(line, 130) for line in title.splitlines())
    head = 0.1 + 0.16 * len(title.splitlines())
    tile = (PAGE / across - label - 0.12) / (most + 1) - _GAP
    height_of_row = tile + _CAPTION
    height_of_block = len(names) * height_of_row + 0.12
    rows = -(-len(blocks) // across)
    height = head + rows * height_of_block
    figure = new_figure(PAGE, height)
    axes = _in_inches(figure, PAGE, height)
    axes.text(0.04, height - 0.06, title, va="top", fontsize=7)
    for number, block in enumerate(blocks):
        left = number % across * PAGE / across + 0.04
        top = height - head - number // across * height_of_block
        middle = top - (len(names) - 1) * height_of_row / 2
        _draw_tile(axes, block.query, left, middle, tile, "query")
        for row, name in enumerate(names):
            y = top - row * height_of_row
            axes.text(left + tile + 0.1, y - tile / 2, drawable(name, 12), va="center", fontsize=7, color=MUTED)
            for place, shown in enumerate(block.rows[name]):
                _draw_tile(axes, shown, left + label + (place + 1) * (tile + _GAP), y, tile)
    return figure


def _in_inches(figure, width, height):
    """Axes over the whole figure whose coordinates are inches, from the lower left."""
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return axes


def _draw_tile(axes, tile, left, top, size, caption=None):
    """An image in the square of `size` inches below `top`, its caption beneath it."""
    box = (left, left + size, top - size, top)
    if tile.image is None:
        axes.fill_between(box[:2], box[2], box[3], color="#e4e4e4", linewidth=0)
        axes.text(left + size / 2, top - size / 2, "cannot\nbe read", ha="center", va="center", fontsize=6)
    else:
        step = max(1, max(tile.image.shape) // _MOST_PIXELS)
        axes.imshow(tile.image[::step, ::step], extent=box, aspect="auto", interpolation="nearest")
    if tile.right is not None:
        colour = RIGHT if tile.right else WRONG
        x, y = (box[0], box[1], box[1], box[0], box[0]), (box[2], box[2], box[3], box[3], box[2])
        axes.plot(x, y, color=colour, linewidth=1.0 if tile.right else 2.0, solid_joinstyle="miter")
    letters = max(4, int(size / 0.052))
    text = drawable(tile.caption, letters - (2 if tile.right is False else 0))
    text = f"\u00d7 {text}" if tile.right is False else text
    heading = {"color": WRONG, "fontweight": "bold"} if tile.right is False else {}
    axes.text(left + size / 2, top - size - 0.03, text, ha="center", va="top", fontsize=6, **heading)
    note = caption or tile.note
    axes.text(
        left + size / 2, top - size - 0.125, drawable(note, letters), ha="center", va="top", fontsize=5.5, color=MUTED
    )
