import json
import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor

from mindbyol.terminal import setup_logging
from mindbyol.training.log import NonFiniteLoss, TrainLog
from mindbyol.training.overflows import WatchOverflows

PLAN = SimpleNamespace(epochs=2, total_steps=20, steps_per_epoch=10, effective_batch=64, accumulation=1)
STEP = SimpleNamespace(statistics=("byol_loss", "projection_std", "tau", "lr"), states=("tau", "lr"))
SHOWN = {"byol_loss": "loss: {:.4f}", "probe_accuracy": "probe: {:.1%}", "tau": "tau: {:.5f}", "lr": "lr: {:.5f}"}


def run(tmp_path, losses, std=0.06, plan=PLAN, shown=SHOWN, **options):
    log = TrainLog(tmp_path, STEP, plan, 4, shown, **options)
    try:
        for step, loss in enumerate(losses):
            log.add(Tensor(loss, ms.float32), Tensor([loss, std, 0.99 + step / 1000, 0.1], ms.float32))
            log.end_step(0.0)
    finally:
        log.close()
    return [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


def test_a_line_each_interval_and_at_the_end_of_an_epoch(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    records = run(tmp_path, np.arange(1, 13))
    assert [(r["epoch"], r["step"]) for r in records] == [(1, 4), (1, 8), (1, 10), (2, 12)]
    assert [r["loss"] for r in records] == [2.5, 6.5, 9.5, 11.5]  # means since the line before
    assert records[0]["tau"] == pytest.approx(0.993) and "probe_accuracy" not in records[0]
    assert "Epoch: [1/2], batch: [4/10], loss: 2.5000, tau: 0.99300, lr: 0.10000, eta: 0:00:" in caplog.text
    assert "probe" not in caplog.text and records[0]["projection_std"] == pytest.approx(0.06)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, bad):
    with pytest.raises(NonFiniteLoss, match=rf"the loss is {bad} at step 6: .*--base_lr"):
        run(tmp_path, [1, 1, 1, 1, 1, bad, 1, 1])


def test_lines_fit_the_terminal(tmp_path, capsys):
    setup_logging(tmp_path)
    plan = SimpleNamespace(epochs=1000, total_steps=10**7, steps_per_epoch=10**4, effective_batch=4096, accumulation=1)
    many = {"byol_loss": "loss: {:.4f}", "lr": "lr: {:.4g}", "projection_std": "std: {:.4f}", "tau": "tau: {:.5f}"}
    many.update(loss="a head with a long name: {:.4f}")
    run(tmp_path, np.arange(1, 9), plan=plan, shown=many)
    log = TrainLog(tmp_path, STEP, plan, 4, many, done=10**4)
    log.add_scores({f"lr0.{number}_top1": 75.0 for number in range(20)})
    log.close()
    lines = capsys.readouterr().out.splitlines()
    setup_logging()
    assert (
        len(lines) == 3 and max(map(len, lines)) <= 120 and all(re.match(r"\[\d\d:\d\d:\d\d] [EV]", x) for x in lines)
    )
    assert "loss: 2.5000, lr: 0.1, std: 0.0600, tau: 0.99300, eta: " in lines[0] and "a head" not in lines[0]
    assert "lr0.0_top1: 75.00%, lr0.1_top1" in lines[2] and "lr0.19" not in lines[2]
    assert re.match(r"\[20\d\d-.*] mindbyol.training.log INFO - Epoch: ", (tmp_path / "rank0.log").read_text())
    assert "val_lr0.19_top1" in (tmp_path / "metrics.jsonl").read_text()


def test_the_bar_has_loss_and_std(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    run(tmp_path, np.arange(1, 9), shown={"byol_loss": "loss: {:.4f}", "projection_std": "std: {:.4f}", **SHOWN})
    assert "loss: 6.5000, std: 0.0600]" in capsys.readouterr().err


class Measured:
    """Remembers when it was asked; the second step that it measures overflowed."""

    def __init__(self):
        self.asked = []

    def before_step(self):
        self.asked.append("before")

    def after_step(self):
        self.asked.append("after")
        return {"gradient_norm": 1 / 3 if len(self.asked) == 2 else np.inf, "update_norm": 0.25}


def test_the_last_step_of_a_line_is_measured(tmp_path):
    measures = Measured()
    log = TrainLog(tmp_path, STEP, PLAN, 4, SHOWN, measures=measures)
    for step in range(1, 11):
        due = step in (4, 8, 10)
        assert measures.asked[-1:] == (["before"] if due else ["after"] if step > 4 else [])
        log.add(Tensor(1.0, ms.float32), Tensor([1.0, 0.06, 0.99, 0.1], ms.float32))
        log.end_step(0.0)
    log.close()
    assert measures.asked == ["before", "after"] * 3
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert records[0]["gradient_norm"] == 0.333333 and records[0]["update_norm"] == 0.25
    assert "gradient_norm" not in records[1] and records[1]["update_norm"] == 0.25


def test_lines_do_not_depend_on_where_a_run_was_interrupted(tmp_path):
    plan = SimpleNamespace(**{**vars(PLAN), "accumulation": 2})
    states = ("tau", "lr", "loss_scale", "overflows")
    step = SimpleNamespace(statistics=("byol_loss", "projection_std", *states), states=states)

    def new_log(folder, *begun):
        return TrainLog(tmp_path / folder, step, plan, 4, SHOWN, [WatchOverflows()], *begun)

    def batches(log, first, last):
        for k in range(first, last):
            log.add(Tensor(k / 3, ms.float32), Tensor([k / 7, 0.06, 0.99, 0.1, 512, k // 5], ms.float32))
            if k % 2:
                log.end_step(0.1 * (k - first))
        state = json.loads(json.dumps(log.state))  # as a checkpoint holds it
        log.close()
        return state

    def lines(folder):
        kept = ("epoch", "step", "loss", "byol_loss", "overflows")
        records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [[record[key] for key in kept] for record in records]

    for folder in ("straight", "halves"):
        (tmp_path / folder).mkdir()
    batches(new_log("straight"), 0, 40)
    assert [line[1] for line in lines(tmp_path / "straight")] == [4, 8, 10, 12, 16, 20]
    state = batches(new_log("halves"), 0, 13)  # within a line and within a step
    assert len(state["pending"]) == 5 and state["line_wait"] == pytest.approx(1.1 - 0.7)
    later = new_log("halves", 6, state)
    assert later.seconds >= state["seconds"]
    batches(later, 13, 40)
    assert lines(tmp_path / "halves") == lines(tmp_path / "straight")
