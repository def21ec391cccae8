"""Worker processes start together and end, whatever happens to the loader, to one of them, or to their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mindbyol.data.decode import DataError
from mindbyol.data.loader import LoaderSettings, PretrainLoader
from mindbyol.data.sources import create_source
from mindbyol.data.views import TwoViewTransform
from tests import processes

TRANSFORM = TwoViewTransform(size=32)


@pytest.fixture(scope="module")
def source(jpegs):
    return create_source("folder", jpegs)


def loader(source, workers, epochs=100, transform=TRANSFORM, **settings):
    settings = {"seed": 7, "num_parallel_workers": workers, "worker_type": "process", **settings}
    return PretrainLoader(source, transform, LoaderSettings(8, **settings), epochs)


@pytest.mark.parametrize("workers, batches", [(2, 1), (8, 1), (4, 40)])
def test_closing_early_ends_them_all(source, workers, batches):
    iterator = iter(loader(source, workers))
    for _ in range(batches):
        next(iterator)
    assert len(processes.workers_of(os.getpid())) == workers
    iterator.close()
    assert processes.workers_of(os.getpid()) == []


def test_signals_to_all_processes_leave_the_workers_at_work(source):
    expected = np.array(list(loader(source, 1, 2, worker_type="thread")))
    iterator = iter(loader(source, 2, 2))
    batches = [next(iterator)]
    for worker in processes.workers_of(os.getpid()):
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
    np.testing.assert_array_equal(batches + list(iterator), expected)
    assert processes.workers_of(os.getpid()) == []


def test_one_of_many_that_is_killed_stops_all(source):
    iterator = iter(loader(source, 4))
    next(iterator)
    os.kill(processes.workers_of(os.getpid())[2], signal.SIGKILL)
    with pytest.raises(DataError, match=r"^worker_type: a data worker process died \(SIGKILL\)"):
        list(iterator)
    assert processes.workers_of(os.getpid()) == []


class _Exits(TwoViewTransform):
    def __call__(self, image, seed, epoch, index, out):
        os._exit(3)


def test_all_that_end_by_themselves_are_an_error(source):
    with pytest.raises(DataError, match=r"^worker_type: a data worker process died \(exit code 3\)"):
        list(loader(source, 2, transform=_Exits()))


class _Wrong(TwoViewTransform):
    def __call__(self, image, seed, epoch, index, out):
        raise ZeroDivisionError("wrong")


def test_an_error_in_a_worker_reaches_the_consumer_with_its_lines(source):
    with pytest.raises(ZeroDivisionError, match="wrong") as caught:
        list(loader(source, 2, transform=_Wrong()))
    assert "in __call__" in str(caught.value.__cause__)
    assert processes.workers_of(os.getpid()) == []


def test_a_bad_image_stops_the_run_at_once_if_asked_to(tmp_path, write_jpegs):
    write_jpegs(tmp_path, 8)
    (tmp_path / "05.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="^05.jpg: the file is empty$"):
        list(loader(create_source("folder", tmp_path), 2, on_bad_image="stop"))


def test_one_that_hangs_in_a_read_is_killed(tmp_path, source, monkeypatch):
    monkeypatch.setattr("mindbyol.data.loader.TIMEOUT", 2.0)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="^data_dir: no data worker finished an image for 2 s"):
        list(loader(source, 4, transform=processes.Hangs(tmp_path / "pipe")))
    assert processes.workers_of(os.getpid()) == []


SCRIPT = """
import os, resource, signal, sys
sys.path.insert(0, {root!r})
from mindbyol.data import DataError, LoaderSettings, PretrainLoader, TwoViewTransform, create_source

settings = LoaderSettings(8, num_parallel_workers={workers}, worker_type={worker_type!r})
loader = PretrainLoader(create_source("folder", {folder!r}), TwoViewTransform(size=32), settings, 100)
{then}
"""


def start(folder, then, workers=4, worker_type="process"):
    """A program of its own, in a session of its own, that makes a loader and goes on as `then` says."""
    code = SCRIPT.format(
        root=str(Path(__file__).parents[2]), folder=str(folder), then=then, workers=workers, worker_type=worker_type
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process):
    """Exit code, and what was written, once all processes of the session are gone."""
    try:
        output, errors = process.communicate(timeout=100)
        assert processes.wait_until_gone(process.pid) == []
    finally:
        for left in processes.in_session(process.pid):
            os.kill(left, signal.SIGKILL)
    return process.returncode, output, errors


@pytest.mark.parametrize("how, code", [("sys.exit(75)", 75), ("raise RuntimeError('an error')", 1)])
def test_a_program_that_ends_with_a_loader_half_way_ends(jpegs, how, code):
    returned, _, errors = end(start(jpegs, f"batches = iter(loader); next(batches)\n{how}"))
    assert returned == code and ("an error" in errors) == (code == 1)


def test_they_do_not_outlive_a_parent_that_is_killed(jpegs):
    process = start(jpegs, "batches = iter(loader); next(batches)\nprint('started', flush=True)\nsignal.pause()")
    assert process.stdout.readline() == "started\n"
    process.kill()
    assert end(process)[0] == -signal.SIGKILL


def test_one_that_hangs_in_a_read_does_not_outlive_its_parent(tmp_path, jpegs):
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    then = f"from tests.processes import Hangs\nloader.transform = Hangs({str(fifo)!r})\n"
    then += "loader._maker._transform = loader.transform; print('made', flush=True); next(iter(loader))"
    process = start(jpegs, then)
    assert process.stdout.readline() == "made\n"
    writer = None
    while writer is None and process.poll() is None:
        try:
            writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)  # Succeeds once somebody reads.
        except OSError:
            time.sleep(0.02)
    process.kill()
    assert end(process)[0] == -signal.SIGKILL
    os.close(writer)


FEW_FILES = "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"
LITTLE_MEMORY = """
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (1 << 28)
resource.setrlimit(resource.RLIMIT_AS, (size, size))
"""


@pytest.mark.parametrize(
    "worker_type, limit", [("process", FEW_FILES), ("thread", LITTLE_MEMORY)], ids=["process", "thread"]
)
def test_more_than_can_be_started_are_one_line_and_an_end(jpegs, worker_type, limit):
    then = f"{limit}\ntry:\n    list(loader)\nexcept DataError as error:\n    sys.exit(str(error))"
    code, output, errors = end(start(jpegs, then, 1000, worker_type))
    assert code == 1 and output == ""
    assert (
        errors.startswith("num_parallel_workers: only ")
        and "of 1000 data worker " in errors
        and errors.count("\n") == 1
    )
    assert errors.endswith("; lower it\n")
