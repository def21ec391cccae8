"""What metrics.jsonl says, and the curves of it."""

import json
import math

import numpy as np
import pytest

from mindbyol.commands import plot
from mindbyol.reports import curves, drawing, metrics
from tests.reports.conftest import CONFIG, line, write_run


def axes_of(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}


def test_a_run_is_read_by_series(run):
    found = metrics.read(run)
    assert found.name == "photos" and found.steps_per_epoch == 4 and found.projection_size == 16
    assert found.series["byol_loss"] == ([2, 4, 6, 8], [1.0, 0.5, pytest.approx(1 / 3), 0.25])
    assert found.series["val_knn20_top1"] == ([4, 8], [60.0, 70.5])
    assert metrics.read(run / "metrics.jsonl") == found


def test_the_last_line_of_a_step_counts_and_one_that_was_cut_off_does_not(tmp_path):
    run = write_run(tmp_path / "run", [line(2), line(2, lr=0.5), line(4)])
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "st')
    found = metrics.read(run)
    assert found.series["lr"] == ([2, 4], [0.5, 0.1]) and found.steps_per_epoch is None


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "no metrics.jsonl is there; name the folder of a run"),
        ("", "holds no numbers yet"),
        ("hello\n" + json.dumps(line(2)), "line 1 is no line of a run's metrics.jsonl"),
        ("[1]\n", "line 1 is no line"),
        ('{"epoch": 1, "step": "2"}\n' + json.dumps(line(2)), "line 1 is no line"),
    ],
)
def test_what_is_no_run_is_said_in_a_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(SystemExit, match=message) as error:
        plot.main([str(tmp_path), "-o", str(tmp_path / "curves.png")])
    assert "\n" not in str(error.value) and not (tmp_path / "curves.png").exists()


def test_every_series_has_a_panel_with_its_values_and_units(run):
    panels = axes_of(curves.draw([metrics.read(run)]))
    assert list(panels) == [
        "BYOL loss",
        "std of projections",
        "probe, top-1 (%)",
        "knn20 top1 (%)",
        "learning rate",
        "τ",
        "images/s",
        "total loss",
    ]
    (curve,) = panels["probe, top-1 (%)"].lines
    np.testing.assert_array_equal(curve.get_xdata(), [2, 4, 6, 8])
    np.testing.assert_allclose(curve.get_ydata(), 50)
    level = panels["std of projections"].lines[-1].get_ydata()
    np.testing.assert_allclose(level, 1 / math.sqrt(16))


def test_runs_lie_on_top_of_each_other_by_step_or_by_epoch(run, tmp_path):
    other = write_run(tmp_path / "b" / "photos", [line(4), {**line(5), "epoch": 2}], {**CONFIG, "projection_size": 64})
    runs = [metrics.read(run), metrics.read(other)]
    figure = curves.draw(runs, ["byol_loss", "projection_std"], by_epoch=True)
    panels = axes_of(figure)
    np.testing.assert_array_equal(panels["BYOL loss"].lines[0].get_xdata(), [0.5, 1, 1.5, 2])
    np.testing.assert_array_equal(panels["BYOL loss"].lines[1].get_xdata(), [1, 1.25])
    assert panels["BYOL loss"].lines[0].get_color() != panels["BYOL loss"].lines[1].get_color()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["photos (1)", "photos (2)"]
    levels = sorted(one.get_ydata()[0] for one in panels["std of projections"].lines[2:])
    np.testing.assert_allclose(levels, [1 / 8, 1 / 4])


def test_without_a_probe_the_loss_is_drawn_once(tmp_path):
    lines = [{name: value for name, value in line(step).items() if "probe" not in name} for step in (4, 8)]
    run = metrics.read(write_run(tmp_path, lines))
    assert "byol_loss" in curves.series_of([run]) and "loss" not in curves.series_of([run])
    assert axes_of(curves.draw([run], ["loss"])).keys() == {"total loss"}  # unless it is asked for


def test_a_long_curve_keeps_its_spikes():
    x, y = np.arange(100_000.0), np.zeros(100_000)
    y[[12_345, 54_321]] = 1, np.nan
    few_x, few_y = curves._thinned(x, y)
    assert len(few_x) <= 4000 and 12_345 in few_x and np.nanmax(few_y) == 1 and (np.diff(few_x) > 0).all()


def test_the_command_writes_a_png_and_says_what_is_in_it(run, tmp_path, capsys):
    output = tmp_path / "curves.png"
    plot.main([str(run), "-o", str(output), "--series", "tau", "lr"])
    assert output.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert capsys.readouterr().out == f"{output}: tau, lr of photos\n"
    with pytest.raises(SystemExit, match="series: no run has 'speed'; there are byol_loss, "):
        plot.main([str(run), "-o", str(output), "--series", "speed"])
    with pytest.raises(SystemExit, match="the file to write must end in .png"):
        plot.main([str(run), "-o", str(tmp_path / "curves.pdf")])


def test_there_are_no_epochs_before_one_has_ended(tmp_path):
    run = write_run(tmp_path / "run", [line(2)])
    with pytest.raises(SystemExit, match="x: run has not ended an epoch yet"):
        plot.main([str(run), "-o", str(tmp_path / "curves.png"), "--x", "epoch"])


def test_names_are_drawn_as_far_as_the_font_goes():
    assert drawing.drawable("$x_{$.jpg") == "$x_{$.jpg"
    assert drawing.drawable("a\n\x1b猫.png") == "a \\x1b□.png"
    assert drawing.drawable("abcdefghijklmnop.jpg", 9) == "abcd….jpg"


def test_a_figure_is_the_same_bytes_each_time(run):
    first, second = (drawing.png(curves.draw([metrics.read(run)], ["tau"])) for _ in range(2))
    assert first == second
