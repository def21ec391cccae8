import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mindspore as ms

from mindbyol import runtime


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("MS_WORKER_NUM", "RANK_TABLE_FILE", "MS_ROLE"):
        monkeypatch.delenv(name, raising=False)


def test_setup_takes_plain_values_and_gives_the_place_of_the_process():
    assert runtime.setup("CPU", ms.PYNATIVE_MODE, seed=7) == runtime.World("CPU", rank=0, ranks=1)
    assert ms.get_context("mode") == ms.PYNATIVE_MODE and ms.get_seed() == 7
    assert runtime.setup() == runtime.World("CPU")
    assert ms.get_context("mode") == ms.GRAPH_MODE and ms.get_seed() == 7  # none was given


@pytest.mark.skipif(not hasattr(ms, "set_device"), reason="MindSpore before 2.5")
@pytest.mark.parametrize(
    "environ, number", [({}, None), ({"DEVICE_ID": "3"}, 3), ({"DEVICE_ID": "3", "MS_WORKER_NUM": "8"}, None)]
)
def test_devices_are_set_by_number_but_for_msruns_ranks(monkeypatch, environ, number):
    """There is one CPU, so what MindSpore is told is looked at."""
    told = []
    monkeypatch.delenv("DEVICE_ID", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ms, "set_device", lambda *arguments: told.append(arguments))
    runtime.setup("CPU", distribute=False)
    assert told == [("CPU", number)]


def test_deterministic_is_said_once_a_process(monkeypatch):
    told = []
    runtime._set_deterministic.cache_clear()
    monkeypatch.setattr(ms, "set_deterministic", told.append, raising=False)
    runtime.setup("CPU")
    assert told == []
    runtime.setup("CPU", deterministic=True), runtime.setup("CPU", deterministic=True)
    assert told == [True]  # MindSpore refuses a second time
    runtime._set_deterministic.cache_clear()


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="^device_target: this MindSpore has no GPU"):
        runtime.setup("GPU")


def test_processes_that_are_not_there_are_named(monkeypatch):
    with pytest.raises(ValueError, match="^distribute: nothing started this process as one of several; use 'msrun"):
        runtime.setup(distribute=True)
    monkeypatch.setenv("MS_WORKER_NUM", "2")
    with pytest.raises(ValueError, match="^distribute: MS_WORKER_NUM is set, as by msrun, but MS_ROLE is not"):
        runtime.setup()
    assert runtime.setup(distribute=False).ranks == 1


def test_one_rank_hears_itself():
    ranks = runtime.Communicator(runtime.World("CPU"))
    assert [ranks.any(True), ranks.any(False), ranks.any_before(True), ranks.any_before(False)] == [True, False] * 2
    assert ranks.all_equal("text")
    np.testing.assert_array_equal(ranks.gather(np.arange(3.0)), [[0, 1, 2]])
    ranks.barrier()


def test_clearing_the_overflow_status_reads_it(monkeypatch):
    """Which clears it where a device has one; no device here has."""
    read = []
    all_finite = runtime.amp.all_finite
    monkeypatch.setattr(runtime.amp, "all_finite", lambda tensors: read.append(1) or all_finite(tensors))
    runtime.clear_overflow_status()
    assert read == [1]


def test_a_program_that_holds_a_backbone_ends_quietly():
    program = "from mindbyol.backbones import create_backbone\nbackbone = create_backbone('resnet18')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
