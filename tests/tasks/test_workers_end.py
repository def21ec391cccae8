"""Whole runs with worker processes end, finished or stopped, and leave no process behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mindbyol.commands import train
from tests import processes
from tests.tasks import tiny

RECIPE = {"worker_type": "process", "epoch_size": 1}


def run(folder, workers, stop):
    """A run in a session of its own, which `stop` may stop: exit code, output, and the processes that are left."""
    recipe = {**RECIPE, "num_parallel_workers": workers, **({"epoch_size": 10000} if stop else {})}
    process = subprocess.Popen(
        [sys.executable, *tiny.arguments(folder, **recipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if stop and "Epoch: [1/10000], batch: [1/" in line:
                stop(process.pid, signal.SIGTERM)
            if "finished 1 epochs" in line or "stopped at step" in line:
                break
        started = time.monotonic()
        lines.append(process.communicate(timeout=100)[0])
        left = processes.wait_until_gone(process.pid)
        print(f"{workers} workers: all ended {time.monotonic() - started:.1f} s after the last step")
        return process.returncode, "".join(lines), left
    finally:
        for left in processes.in_session(process.pid):
            os.kill(left, signal.SIGKILL)


def check(folder, workers, stop):
    code, output, left = run(folder, workers, stop)
    assert code == (train.STOPPED if stop else 0), output
    assert ("stopped at step" if stop else "finished 1 epochs") in output and "SpawnProcess" not in output
    assert left == []


# A signal to the run alone, or to all its processes, as schedulers and terminals send it.
ENDS = {"finished": None, "stopped": os.kill, "all_stopped": os.killpg}


@pytest.mark.parametrize("workers, how", [(4, "finished"), (8, "stopped")])
def test_a_run_ends_and_leaves_no_process(tmp_path, workers, how):
    check(tmp_path, workers, ENDS[how])


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(10))
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("workers", [2, 4, 8, 16])
def test_runs_end_and_leave_no_process(tmp_path, workers, how, turn):
    check(tmp_path, workers, ENDS[how])
