"""Runs that belong together: trained once, gone on with, reported; what trains them is a script that takes no time."""

import json
import sys

import pytest

from mindbyol.commands import few_labels, grid, stl10_experiment
from mindbyol.experiments import Runs, Stopped, backbone, curve, mean_and_spread, plot, shown, table

# A train.py that notes its flags, scores, and ends with the code in a file beside the runs.
SCRIPT = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--ckpt_save_dir") + 1])
with open(folder.parent / "calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
code = folder.parent / "code"
if code.exists():
    print("train.py: model: there is none")
    sys.exit(int(code.read_text()))
lr = float(sys.argv[sys.argv.index("--lr") + 1])
scores = {"val_top1": 50 + 10 * lr, "val_top5": 90, "val_mean_per_class": 50}
lines = [{"epoch": 1, "loss": 2}, {"epoch": 1, **scores, "val_top1": 99}, {"epoch": 2, **scores}]
(folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
"""


@pytest.fixture
def runs(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "runs").mkdir()
    return Runs(tmp_path / "runs", [sys.executable, str(script)])


def calls(runs):
    return (runs.folder / "calls").read_text().splitlines()


def test_a_finished_run_is_not_trained_again(runs):
    folder = runs.train("a", "--lr", "0.5")
    assert runs.train("a", "--lr", "0.5") == folder == runs.folder / "a"
    assert calls(runs) == [f"--lr 0.5 --ckpt_save_dir {folder} --resume auto"]
    with pytest.raises(ValueError, match="^output: .*/a holds a run with other flags .--lr 0.5.: name another folder"):
        runs.train("a", "--lr", "0.1")


def test_a_run_that_was_stopped_or_failed_is_trained_again(runs):
    (runs.folder / "code").write_text("75")
    with pytest.raises(Stopped, match="^a was stopped; the same command goes on"):
        runs.train("a", "--lr", "0.5")
    (runs.folder / "code").write_text("1")
    with pytest.raises(
        RuntimeError, match=r"^a: train.py ended with 1 \(train.py: model: there is none\); .*train.log"
    ):
        runs.train("a", "--lr", "0.5")
    (runs.folder / "code").unlink()
    assert curve(runs.train("a", "--lr", "0.5"))[-1]["top1"] == 55
    assert len(calls(runs)) == 3


def test_the_last_epoch_counts_and_not_the_best(runs):
    points = curve(runs.train("a", "--lr", "0.5"))
    assert [(point["epoch"], point["top1"]) for point in points] == [(1, 99), (2, 55)]


def test_the_backbone_with_most_steps(tmp_path):
    for name in ("resnet18-9_900_backbone.ckpt", "resnet18-10_1000_backbone.ckpt", "resnet18-10_1000.ckpt"):
        (tmp_path / name).touch()
    assert backbone(tmp_path) == str(tmp_path / "resnet18-10_1000_backbone.ckpt")


def test_means_and_spreads_by_hand():
    assert mean_and_spread([1, 2, 6]) == (3, pytest.approx(7**0.5)) and mean_and_spread([4]) == (4, 0)
    assert shown([1, 2, 6]) == "3.00 ± 2.65" and shown([4]) == "4.00"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_plot_is_a_small_png(tmp_path):
    plot(tmp_path / "p.png", {"a": ([10, 50], [[1, 2], [3, 4]]), "b": ([10, 50], [[1], [3]])}, "x", "y", True)
    data = (tmp_path / "p.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) < 100_000


def test_a_grid_reports_the_best_mean_over_seeds():
    scores = {("0.1", "0"): (60, 90), ("0.1", "1"): (62, 91), ("1", "0"): (70, 92), ("1", "1"): (50, 80)}
    scores = {point: {"top1": top1, "top5": top5} for point, (top1, top5) in scores.items()}
    text = grid.report(["lr", "seed"], scores)
    assert "| 0.1 | 61.00 ± 1.41 | 90.50 ± 0.71 |" in text and "| 1 | 60.00 ± 14.14 |" in text
    assert text.endswith("best top-1: lr 0.1")


def test_a_grid_trains_every_combination_and_goes_on(runs, tmp_path, capsys):
    command = ["--launch", f"{sys.executable} {tmp_path / 'script.py'}", "--output", str(runs.folder)]
    command += ["--task", "finetune", "--vary", "lr=0.1,0.5", "--vary", "head_lr_mult=1,10"]
    grid.main(command)
    assert len(calls(runs)) == 4 and "best top-1: lr 0.5, head_lr_mult 1" in capsys.readouterr().out
    grid.main(command)
    assert len(calls(runs)) == 4
    assert json.loads((runs.folder / "lr_0.5-head_lr_mult_10/run.json").read_text())["finished"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--vary", "lr=0.1,0.1"], "has a value twice"),
        (["--vary", "lr"], "is not KEY=VALUE,VALUE"),
        (["--vary", "lr=0.1,fast"], "--lr: 'fast' is not a number"),
        (["--vary", "rate=0.1"], "--rate: no such flag"),
        (["--vary", "lr=0.1", "--val_while_train", "False"], "val_while_train: is off"),
        (["--vary", "lr=0.1", "--task", "byol"], "task byol trains no classifier"),
    ],
)
def test_what_is_wrong_with_a_grid_comes_out_before_the_first_run(tmp_path, words, message):
    with pytest.raises(SystemExit, match=message):
        grid.main(["--task", "finetune", "--output", str(tmp_path / "runs"), *words])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--start", "BYOL"], "'BYOL' is neither NAME=FILE nor nothing"),
        (["--start", "BYOL=nowhere.ckpt"], "--start: no file 'nowhere.ckpt'"),
        (["--start", "nothing", "--start", "nothing"], "--start: one stands there twice"),
        (["--start", "nothing", "--labels", "10"], "'10' is not LABELS:EPOCHS"),
        (["--start", "nothing", "--lr", "fast"], "--lr: 'fast' is not a number"),
    ],
)
def test_what_is_wrong_with_a_comparison_of_starts(tmp_path, words, message):
    with pytest.raises(SystemExit, match=message):
        few_labels.main(["--task", "finetune", "--output", str(tmp_path), "--labels", "10:2", *words])


def test_the_table_of_starts():
    top1 = {("BYOL", 10): [70, 72], ("BYOL", 50): [80, 80], ("nothing", 10): [60, 60], ("nothing", 50): [78, 80]}
    assert few_labels.report(["BYOL", "nothing"], [10, 50], top1).splitlines() == [
        "| start | 10 labels a class | 50 labels a class |",
        "| --- | --- | --- |",
        "| BYOL | 71.00 ± 1.41 | 80.00 ± 0.00 |",
        "| nothing | 60.00 ± 0.00 | 79.00 ± 1.41 |",
    ]


def test_the_table_of_stl10_has_the_published_pair_beside():
    def of_seed(top1):
        return [{"epoch": 1, "top1": 10, "top5": 50}, {"epoch": 2, "top1": top1, "top5": 99}]

    curves = {"without BYOL": [of_seed(80), of_seed(82)], "with BYOL": [of_seed(84), of_seed(84)]}
    text = stl10_experiment.report(curves, 10, "weights/resnet18.ckpt")
    assert "| without BYOL | 81.00 ± 1.41 | 99.00 ± 0.00 | 84.58 |" in text
    assert "| with BYOL | 84.00 ± 0.00 | 99.00 ± 0.00 | 87.61 |" in text and "from resnet18.ckpt, 2 seeds" in text
