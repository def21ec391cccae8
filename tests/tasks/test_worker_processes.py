"""Runs whose images are made by worker processes end when they should, and leave no process behind."""

import os
import signal
from pathlib import Path

import pytest

from tests.tasks import tiny


def alive(group):
    """Processes of a process group, by /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # ended in between
            continue
        if int(its_group) == group and state != "Z":
            found.append(stat.parent.name)
    return found


def end(folder, workers, stop, timeout=180):
    """A run in a process group of its own; stopped by SIGTERM at its first line of the log if asked."""
    recipe = {"worker_type": "process", "num_parallel_workers": workers}
    process = tiny.start(folder, start_new_session=True, **recipe, **({"epoch_size": 4000} if stop else {}))
    if stop:
        for line in process.stdout:
            if "Epoch: [" in line:
                break
        os.kill(process.pid, signal.SIGTERM)
    output = process.communicate(timeout=timeout)[0]
    assert process.returncode == (75 if stop else 0), output
    assert alive(process.pid) == []


@pytest.mark.parametrize("workers, stop", [(4, False), (4, True), (8, True)])
def test_runs_end_and_leave_no_process(tmp_path, workers, stop):
    end(tmp_path / "run", workers, stop)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("workers", [2, 4, 8, 16])
def test_runs_end_ten_times_of_ten(tmp_path, workers, stop):
    for time in range(10):
        end(tmp_path / f"{time}", workers, stop)
