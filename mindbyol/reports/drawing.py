"""How every picture looks: its type, its lines, colours that colour-blind people tell apart; and how it is written.

Pictures are `matplotlib.figure.Figure`s without pyplot: they need no display, and leave a notebook's own plots alone.
"""

import contextlib
import io
import os
import sys
from pathlib import Path

import numpy as np

if "matplotlib" not in sys.modules:
    _wanted = os.environ.pop("MPLBACKEND", None)  # one that this matplotlib does not have would break its import
    import matplotlib

    if _wanted is not None:
        os.environ["MPLBACKEND"] = _wanted
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = _wanted
import matplotlib.style
from matplotlib import font_manager, ft2font
from matplotlib.figure import Figure
from PIL import Image

from mindbyol.command import escaped
from mindbyol.files import check_output, replacing

# Okabe and Ito (2008): blue, vermillion, green, purple, orange, sky, black; their yellow is too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RIGHT, WRONG, MUTED = "#009E73", "#D55E00", "#6b6b6b"
COLUMN, PAGE = 3.4, 7.0  # inches: the width of a column and of a page in print

_STYLE = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same picture on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4d4d4d",
    "axes.linewidth": 0.6,
    "xtick.color": "#4d4d4d",
    "ytick.color": "#4d4d4d",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),
    "text.parse_math": False,  # in the names of files "$" is just "$"
    "savefig.dpi": 200,
}


def styled():
    """A decorator of what draws, or a context around it: this style, whatever the user's matplotlibrc says."""
    return matplotlib.style.context(["default", _STYLE])


def new_figure(width, height):
    """An empty figure, in inches; its parts make room for one another."""
    return Figure(figsize=(width, height), layout="constrained")


def check_png(path):
    """Makes sure that a PNG can be written, before any work is done.

    Raises:
        ValueError: It cannot, or the name does not end in .png; the message says why.
    """
    return check_output(path, ".PNG" if str(path).endswith(".PNG") else ".png")


def png(figure, photographs=False):
    """The bytes of the figure as a PNG; the same figure gives the same bytes.

    Args:
        figure (Figure): The figure.
        photographs (bool): It has more colours than lines and type need: 64, a third of the bytes.
    """
    file = io.BytesIO()
    with styled():
        figure.savefig(file, format="png", metadata={"Software": None})
    if photographs:
        return file.getvalue()
    few = io.BytesIO()
    with Image.open(file) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(few, "PNG", optimize=True)
    return few.getvalue()


def save(figure, path, photographs=False):
    """Writes the figure as a PNG, whole or not at all; see `png`."""
    data = png(figure, photographs)
    with replacing(Path(path)) as beside:
        beside.write_bytes(data)


def drawable(text, length=None):
    """A text as it can be drawn: what the font does not have becomes a box, what is too long loses its middle.

    Args:
        text (str): Any text, such as the name of a file.
        length (int): Most characters; None for any number.
    """
    text = "".join(c if ord(c) in _characters() else "\u25a1" for c in escaped(text).replace("\n", " "))
    if length is None or len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}\u2026{text[head + 1 - length:]}"


def _characters(found={}):
    """The characters that the font has."""
    if not found:
        found.update(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())
    return found


@styled()
def spread_lines(lines, x_label, y_label, logarithmic=False, width=COLUMN, height=2.5):
    """Lines of means with a band of one standard deviation.

    Args:
        lines (dict[str, tuple]): Name of a line to its x values, its means and their standard deviations.
        x_label, y_label (str): What the axes are, with units.
        logarithmic (bool): The x axis is; its ticks are the x values.
        width, height (float): In inches.

    Returns:
        Figure: One set of axes.
    """
    figure = new_figure(width, height)
    axes = figure.subplots()
    for (name, (x, means, spreads)), marker in zip(lines.items(), "os^Dv<>PX*" * len(lines)):
        means, spreads = np.asarray(means, float), np.asarray(spreads, float)
        (line,) = axes.plot(x, means, marker=marker, markersize=4, label=drawable(name, 40))
        axes.fill_between(x, means - spreads, means + spreads, color=line.get_color(), alpha=0.18, linewidth=0)
    if logarithmic:
        axes.set_xscale("log")
        ticks = sorted({one for x, *_ in lines.values() for one in x})
        axes.set_xticks(ticks, [str(one) for one in ticks])
        axes.minorticks_off()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(loc="best")
    return figure
