"""What TensorBoard reads of a run, by its own reader."""

import json
import sys

import pytest

from mindbyol.training import event_files
from mindbyol.training.event_files import EventFile

pytest.importorskip("tensorboard", reason="requirements-tensorboard.txt is not installed")
RECORDS = [
    {"epoch": 1, "step": 4, "byol_loss": 2.5, "lr": 1e-6},
    {"epoch": 1, "step": 8, "byol_loss": 1.25, "lr": 0.5},
    {"epoch": 1, "step": 8, "val_knn20_top1": 91.5},
]


def curves(folder):
    """`{name: [(step, value), ...]}` of all event files of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder / event_files.FOLDER), purge_orphaned_data=False).Reload()
    tags = reader.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in tags}


def test_tensorboard_reads_what_metrics_hold(tmp_path):
    events = EventFile(tmp_path)
    for record in RECORDS:
        events.add(record)
    found = curves(tmp_path)  # while the run goes on
    events.close()
    assert found.keys() == {"epoch", "byol_loss", "lr", "val_knn20_top1"}
    assert found["byol_loss"] == [(4, 2.5), (8, 1.25)] and found["val_knn20_top1"] == [(8, 91.5)]
    assert found["lr"][0][1] == pytest.approx(1e-6)


def test_a_run_that_goes_on_has_each_point_once(tmp_path):
    events = EventFile(tmp_path)
    for record in RECORDS:
        events.add(record)
    events.close()
    # The run goes on from step 4: metrics.jsonl has been cut, and step 8 comes again.
    (tmp_path / "metrics.jsonl").write_text(json.dumps(RECORDS[0]) + "\n")
    events = EventFile(tmp_path)
    events.add({**RECORDS[1], "byol_loss": 1.5})
    events.close()
    assert len(list((tmp_path / event_files.FOLDER).iterdir())) == 1
    found = curves(tmp_path)
    assert found["byol_loss"] == [(4, 2.5), (8, 1.5)] and "val_knn20_top1" not in found


def test_a_missing_package_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(ValueError, match="tensorboard: .*pip install -r requirements-tensorboard.txt") as error:
        event_files.check_installed()
    assert "\n" not in str(error.value)
