"""Curves of metrics.jsonl: a panel a series, runs overlaid."""

import math
from typing import NamedTuple

import numpy as np

from mindbyol.reports.drawing import COLOURS, COLUMN, MUTED, PAGE, drawable, new_figure, styled

_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)))  # for more runs than colours
_NOT_SHOWN = ("eta_seconds",)


class Axis(NamedTuple):
    """What the y axis of a series says.

    Attributes:
        label (str): With the unit.
        factor (float): What the values are multiplied by for it.
    """

    label: str
    factor: float = 1.0


# In the order of the panels; what is not here follows under its own name, scores before them.
AXES = {
    "byol_loss": Axis("BYOL loss"),
    "projection_std": Axis("std of projections"),
    "probe_accuracy": Axis("probe, top-1 (%)", 100.0),
    "lr": Axis("learning rate"),
    "tau": Axis("τ"),
    "images_per_second": Axis("images/s"),
    "data_wait_share": Axis("data wait (%)", 100.0),
    "probe_loss": Axis("probe loss"),
}
_FROM_ZERO = {"images_per_second": 0.0, "data_wait_share": 5.0}  # and how far the axis goes at least
_LAST = {"loss": Axis("total loss")}


def series_of(runs):
    """The series that are drawn of the runs if nobody asks for others, in the order of the panels: list[str]."""
    found = dict.fromkeys(key for run in runs for key in run.series if key not in _NOT_SHOWN)
    scores = [key for key in found if key.startswith("val_")]
    others = [key for key in found if key not in AXES and key not in scores and key not in _LAST]
    only_loss = "byol_loss" not in found
    if not only_loss and not any("probe_accuracy" in run.series for run in runs):
        found.pop("loss", None)  # the same again
    order = [*(_LAST if only_loss else ()), *list(AXES)[:3], *scores, *list(AXES)[3:], *others, *_LAST]
    return [key for key in dict.fromkeys(order) if key in found]


def axis_of(key):
    """What the axis of a series says."""
    if key.startswith("val_"):
        return Axis(f"{key[4:].replace('_', ' ')} (%)")
    return AXES.get(key) or _LAST.get(key) or Axis(key.replace("_", " "))


@styled()
def draw(runs, series=None, by_epoch=False):
    """Draws the curves.

    Args:
        runs (list[Metrics]): One line each in every panel whose series it has.
        series (list[str]): Which series; by default all. One alone is as wide as a column in print, more as a page.
        by_epoch (bool): Epochs on the x axis instead of optimizer steps; each run must have ended one.

    Returns:
        Figure: A panel a series.

    Raises:
        ValueError: No run has a series, or there are no epochs to count in.
    """
    there = series_of(runs)
    for key in series or ():
        if not any(key in run.series for run in runs):
            raise ValueError(f"series: no run has '{key}'; there are {', '.join(there)}")
    if by_epoch and not all(run.steps_per_epoch for run in runs):
        name = next(run.name for run in runs if not run.steps_per_epoch)
        raise ValueError(f"x: {name} has not ended an epoch yet, so there are only steps")
    keys = list(dict.fromkeys(series or there))
    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure = new_figure(COLUMN if columns == 1 else PAGE, 2.3 if columns == 1 else 1.75 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    looks = [(COLOURS[n % len(COLOURS)], _DASHES[n // len(COLOURS) % len(_DASHES)]) for n in range(len(runs))]
    names = unlike(runs)
    for axes, key in zip(grid, keys):
        axis = axis_of(key)
        for run, (colour, dashes), name in zip(runs, looks, names):
            if key in run.series:
                steps, values = _thinned(*(np.array(one, float) for one in run.series[key]))
                x = steps / run.steps_per_epoch if by_epoch else steps
                marker = "o" if len(x) == 1 else None
                label = drawable(name, 60)
                axes.plot(x, axis.factor * values, color=colour, linestyle=dashes, marker=marker, ms=3, label=label)
        axes.set_title(drawable(axis.label, 40), loc="left")
        if key == "projection_std":
            _mark_healthy_std(axes, runs)
        elif key in _FROM_ZERO:
            axes.set_ylim(0, max(axes.get_ylim()[1], _FROM_ZERO[key]))
    for number, axes in enumerate(grid):
        axes.set_visible(number < len(keys))
        if number + columns >= len(keys):  # nothing stands below
            axes.set_xlabel("epoch" if by_epoch else "optimizer step")
            axes.tick_params(labelbottom=True)
    handles = {text: line for axes in grid for line, text in zip(*axes.get_legend_handles_labels())}
    if len(runs) > 1:
        across = max(1, min(len(runs), 100 // (8 + max(map(len, handles)))) // (1 if columns > 1 else 2))
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=across)
    return figure


def _thinned(x, y, most=4000):
    """At most so many points of a curve: the lowest and the highest of each stretch, so that no spike is lost."""
    if len(x) <= most:
        return x, y
    stretches = np.array_split(np.arange(len(x)), most // 2)
    low = [stretch[np.argmin(np.nan_to_num(y[stretch], nan=np.inf))] for stretch in stretches]
    high = [stretch[np.argmax(np.nan_to_num(y[stretch], nan=-np.inf))] for stretch in stretches]
    kept = np.unique(low + high)
    return x[kept], y[kept]


def unlike(runs):
    """A name a run: that of its folder; a number behind it where two are called the same."""
    names = [run.name for run in runs]
    return [f"{name} ({names[:n].count(name) + 1})" if names.count(name) > 1 else name for n, name in enumerate(names)]


def _mark_healthy_std(axes, runs):
    """1 / sqrt(d): what the std of normalised projections is when they point anywhere."""
    widths = sorted({run.projection_size for run in runs} - {None})
    for width in widths:
        axes.axhline(1 / math.sqrt(width), color=MUTED, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        note = "1/√d" if len(widths) == 1 else f"1/√{width}"
        at = dict(xy=(1, 1 / math.sqrt(width)), xycoords=("axes fraction", "data"), textcoords="offset points")
        axes.annotate(note, xytext=(-1, 2), ha="right", fontsize=7, color=MUTED, **at)
    if widths:
        top = max(axes.get_ylim()[1], 1.18 / math.sqrt(widths[0]))
        axes.set_ylim(0, top)
