"""Several processes under msrun compute what one would."""

import json
import math
import os
import signal
import time

import numpy as np
import pytest

from mindbyol import checkpoint
from tests.tasks import tiny

STEPS = 20  # 4 epochs of 5
EVERY_STEP = {"ckpt_save_steps": 1, "keep_checkpoint_max": STEPS}


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "ckpt"
    tiny.run(folder, batch_size=32, **EVERY_STEP)
    return folder


def losses(folder):
    return np.array([line["loss"] for line in tiny.metrics(folder)])


def largest_difference(folder, other, step, moments=False):
    """Of all parameters and running statistics, relative to the size of each array; of the moments as well, if asked.

    A bias in front of a batch norm is left out: its gradient is zero but for rounding, so it is noise on any device.
    """
    file = f"tiny-{math.ceil(step / 5)}_{step}.ckpt"
    first, second = (checkpoint.read(run / file)[0] for run in (folder, other))
    assert first.keys() == second.keys()
    names = [name for name in first if not name.endswith("fc0.bias") and (moments or not name.startswith("moments"))]
    assert sum("moving_variance" in name for name in names) == 7
    return max(np.linalg.norm(first[n] - second[n]) / max(np.linalg.norm(second[n]), 1e-12) for n in names)


def test_two_ranks_equal_one(one_rank, tmp_path):
    output = tiny.run_msrun(tmp_path / "two", batch_size=16, **EVERY_STEP)
    assert "Effective batch: 32 = 16 a device x 2 devices" in output
    assert output.count("Essential Experiment Configurations") == 1  # one log
    assert len(losses(tmp_path / "two")) == STEPS
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(one_rank), rtol=1e-5)
    spread = [[line["projection_std"] for line in tiny.metrics(run)] for run in (tmp_path / "two", one_rank)]
    np.testing.assert_allclose(*spread, rtol=1e-4)  # of the global batch, not the mean of two smaller ones
    # After the first step the moments are its gradient. Later, rounding decides which side of a ReLU a value is on.
    assert largest_difference(tmp_path / "two", one_rank, 1, moments=True) < 1e-4
    assert largest_difference(tmp_path / "two", one_rank, STEPS) < 1e-4
    assert (tmp_path / "two/rank0.log").exists() and (tmp_path / "two/rank1.log").exists()


def test_without_the_statistics_of_all_ranks_results_differ(one_rank, tmp_path):
    output = tiny.run_msrun(tmp_path / "two", batch_size=16, sync_bn=False, **EVERY_STEP)
    assert "sync_bn is off: each device normalises with the statistics of its own 16 images" in output
    assert np.abs(losses(tmp_path / "two") / losses(one_rank) - 1).max() > 1e-3
    assert largest_difference(tmp_path / "two", one_rank, 1, moments=True) > 1e-2


def test_ranks_that_start_with_other_weights_are_refused(tmp_path):
    process = tiny.start_msrun(tmp_path / "two", batch_size=16, model="uneven")
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0 and "the ranks do not start with the same weights" in output, output
    assert not (tmp_path / "two/metrics.jsonl").exists() and not list((tmp_path / "two").glob("*.ckpt"))


def test_two_ranks_with_two_accumulated_batches_equal_one(tmp_path):
    recipe = {"gradient_accumulation_steps": "auto", "effective_batch": 32, "loss_scale_type": "dynamic"}
    tiny.run(tmp_path / "one", batch_size=16, **recipe)
    output = tiny.run_msrun(tmp_path / "two", **{**recipe, "batch_size": 8})
    assert "Effective batch: 32 = 8 a device x 2 devices x 2 accumulated" in output
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-5)
    assert largest_difference(tmp_path / "two", tmp_path / "one", STEPS) < 1e-4


@pytest.mark.parametrize("rank", [0, 1])
def test_an_overflow_on_one_rank_is_one_on_all(tmp_path, monkeypatch, rank):
    """With saturation, as on the first Ascend 910, other ranks do not see it in the gradients."""
    monkeypatch.setenv("OVERFLOW_ON_RANK", str(rank))
    tiny.run_msrun(
        tmp_path / "two", batch_size=16, epoch_size=1, loss_scale_type="dynamic", loss_scale=1024, **EVERY_STEP
    )
    state = tiny.newest(tmp_path / "two")
    assert (state["overflows"], state["global_step"]) == (5, 0)


def test_a_killed_rank_ends_the_others(tmp_path):
    process = tiny.start_launcher(tmp_path / "run", batch_size=16, epoch_size=4000, ckpt_save_interval=4000)
    for line in process.stdout:
        if "Epoch: [" in line:
            break
    pids = tiny.rank_pids(tmp_path / "run")
    assert len(pids) == 2
    os.kill(pids[1], signal.SIGKILL)
    killed = time.monotonic()
    output = process.communicate(timeout=60)[0]
    assert time.monotonic() - killed < 60 and process.returncode != 0
    assert f"rank 1 (process {pids[1]}) failed first; its log: {tmp_path}/run_log/worker_1.log" in output, output
    assert not os.path.exists(f"/proc/{pids[0]}")


def test_validation_counts_every_image_once(one_rank, tmp_path):
    backbone = one_rank / "tiny-4_20_backbone.ckpt"
    scores = []
    for ranks in (1, 2):
        recipe = {"num_samples": 151, "batch_size": 8, "ckpt_path": backbone, "results": tmp_path / f"{ranks}.json"}
        if ranks == 1:
            tiny.run(tmp_path / "one", script=tiny.VALIDATE, **recipe)
        else:
            tiny.run_msrun(tmp_path / "two", script=tiny.VALIDATE, features_dir=tmp_path / "features", **recipe)
        records = [json.loads(line) for line in (tmp_path / f"{ranks}.json").read_text().splitlines()]
        scores.append({record["score"]: record["value"] for record in records})
    assert records[0]["images"] % 2 == 1  # 355 images on 2 ranks
    assert scores[0] == scores[1] and len(scores[0]) == 6
    kept = [len(np.load(file, mmap_mode="r")) for file in (tmp_path / "features").iterdir()]
    assert sorted(kept) == [151, 355]  # rank 0 has written them, both have read
