import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor

from mindbyol.pretraining import WatchCollapse
from mindbyol.training.log import NonFiniteLoss, TrainLog
from mindbyol.training.overflows import WatchOverflows

PLAN = SimpleNamespace(epochs=2, total_steps=20, steps_per_epoch=10, effective_batch=64, accumulation=1)
STEP = SimpleNamespace(statistics=("byol_loss", "projection_std", "tau", "lr"), states=("tau", "lr"))
SHOWN = {"byol_loss": "loss: {:.4f}", "probe_accuracy": "probe: {:.1%}", "tau": "tau: {:.5f}", "lr": "lr: {:.5f}"}


def run(tmp_path, losses, std=0.06, watchers=()):
    log = TrainLog(tmp_path, STEP, PLAN, 4, SHOWN, watchers)
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
    assert "Epoch: [1/2], batch: [4/10], loss: 2.5000, tau: 0.99300, lr: 0.10000, img/s" in caplog.text
    assert "probe" not in caplog.text and records[0]["projection_std"] == pytest.approx(0.06)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, bad):
    with pytest.raises(NonFiniteLoss, match=rf"the loss is {bad} at step 6: .*--base_lr"):
        run(tmp_path, [1, 1, 1, 1, 1, bad, 1, 1])


def test_collapse_is_said_in_words(tmp_path, caplog):
    run(tmp_path, [1] * 4, 0.06, [WatchCollapse(1 / 16)])
    assert "collapse" not in caplog.text
    run(tmp_path, [0.01] * 4, 0.001, [WatchCollapse(1 / 16)])
    assert "collapse: the projections of different images are nearly equal" in caplog.text


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
