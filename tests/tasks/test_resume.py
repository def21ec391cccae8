"""A run that is stopped, killed or starved of disk, and goes on, ends as if nothing had happened: bit for bit."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from mindbyol.commands import train
from mindbyol.files import UNFINISHED
from mindbyol.training import loop
from mindbyol.training.log import TrainLog
from tests.tasks import tiny, tiny_train

# The first loss scale overflows; the scale then moves, and steps are left out, while checkpoints are written.
RECIPE = {"batch_size": 16, "gradient_accumulation_steps": 2, "loss_scale_type": "dynamic", "loss_scale": 1e38}
RECIPE.update(ckpt_save_steps=1, keep_checkpoint_max=3, epoch_size=12)
STEPS = 60


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("straight") / "ckpt"
    tiny.run(folder, **RECIPE)
    assert tiny.newest(folder)["overflows"] > 0
    return folder


def main(folder, **recipe):
    """The rest of a run, in this process, with `--resume`."""
    tiny_train.main(tiny.arguments(folder, resume=True, **{**RECIPE, **recipe})[1:])


def assert_same(folder, straight, logged=range(1, STEPS + 1)):
    expected, got = tiny.newest(straight), tiny.newest(folder)
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    kept = ("step", "loss", "projection_std", "tau", "lr", "loss_scale", "overflows")
    lines = [[[line[key] for key in kept] for line in tiny.metrics(run)] for run in (folder, straight)]
    assert lines[0] == lines[1] and [line[0] for line in lines[0]] == list(logged)


def read_lines(process, count):
    """Waits until a run has logged so many steps."""
    for line in process.stdout:
        count -= "Epoch: [" in line
        if count == 0:
            return
    raise AssertionError("the run ended before it could be killed")


def wait_for_unfinished_file(process, folder):
    while process.poll() is None and not list(folder.glob(UNFINISHED)):
        pass


def kill_again_and_again(folder, moments, seed):
    """Kills a run `moments` times, every other time while it writes a checkpoint: how often a file was unfinished."""
    draw = random.Random(seed)
    unfinished = 0
    for moment in range(moments):
        process = tiny.start(folder, resume=moment > 0, **RECIPE)
        read_lines(process, draw.randint(2, 3))
        if moment % 2:
            wait_for_unfinished_file(process, folder)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        unfinished += bool(list(folder.glob(UNFINISHED)))
        assert tiny.newest(folder)["global_step"] >= 0  # reads, and its digest is right
    return unfinished


def test_sigterm_saves_and_resume_goes_on(straight, tmp_path):
    process = tiny.start(tmp_path, **{**RECIPE, "ckpt_save_steps": 1000})
    read_lines(process, 3)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == train.STOPPED == 75, output
    assert "SIGTERM or Ctrl-C: saving after this step" in output and f"of {STEPS}; --resume goes on from here" in output
    assert 3 <= len(tiny.metrics(tmp_path)) < STEPS
    (tmp_path / ".tiny-1_1.ckpt.partial").mkdir()  # left by a kill, and by one of an earlier version
    (tmp_path / ".tiny-1_1.partial.ckpt").write_bytes(b"half")
    # How a run is computed may change, what is computed may not.
    same = {"gradient_accumulation_steps": "auto", "effective_batch": 32, "device_target": "CPU"}
    neutral = {"num_parallel_workers": 2, "keep_checkpoint_max": 2}
    output = tiny.run(tmp_path, resume=True, **{**RECIPE, **same, **neutral})
    assert "resuming from" in output and f"of {STEPS} steps are done" in output
    assert_same(tmp_path, straight)
    assert not list(tmp_path.glob(".*")) and len(list(tmp_path.glob("*_backbone.ckpt"))) == 2


class SignalAtThirdBatch(TrainLog):
    """A signal between the two batches of the second step."""

    batches = 0

    def add(self, *results):
        super().add(*results)
        self.batches += 1
        if self.batches == 3:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_within_a_step_waits_for_its_end(straight, tmp_path, monkeypatch, capfd):
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(loop, "TrainLog", SignalAtThirdBatch)
        tiny_train.main(tiny.arguments(tmp_path, **RECIPE)[1:])
    assert stop.value.code == train.STOPPED and "stopped at step 2 of 60" in capfd.readouterr().out
    main(tmp_path)
    assert_same(tmp_path, straight)


def test_killed_at_any_moment(straight, tmp_path):
    assert kill_again_and_again(tmp_path, 2, seed=1) > 0
    main(tmp_path)
    assert_same(tmp_path, straight)


@pytest.mark.slow
def test_killed_at_twenty_moments(straight, tmp_path):
    assert kill_again_and_again(tmp_path, 20, seed=2) > 5
    main(tmp_path)
    assert_same(tmp_path, straight)


def test_two_ranks_resume_too(tmp_path):
    recipe = {**RECIPE, "batch_size": 8, "epoch_size": 3, "ckpt_save_steps": 1000, "log_interval": 4}
    process = tiny.start_launcher(tmp_path / "run", resume="auto", **recipe)
    read_lines(process, 2)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == train.STOPPED, output
    assert "of 15; --resume goes on from here" in output and "the same command with --resume goes on" in output
    tiny.run_msrun(tmp_path / "run", resume="auto", **recipe)
    tiny.run_msrun(tmp_path / "straight", **recipe)
    assert_same(tmp_path / "run", tmp_path / "straight", logged=[4, 5, 8, 10, 12, 15])


@pytest.mark.slow
@pytest.mark.parametrize("sync_bn", [True, False])
def test_two_ranks_killed_at_any_moment(tmp_path, sync_bn):
    recipe = {**RECIPE, "batch_size": 8, "sync_bn": sync_bn}
    for number, rank in [(signal.SIGKILL, 0), (signal.SIGKILL, 1), (signal.SIGTERM, 0), (signal.SIGKILL, 1)]:
        process = tiny.start_msrun(tmp_path / "run", resume="auto", **recipe)
        read_lines(process, 2)
        os.kill(tiny.rank_pids(tmp_path / "run")[rank], number)  # one rank is told, all stop
        process.communicate()
        assert process.returncode != 0
    tiny.run_msrun(tmp_path / "run", resume=True, **recipe)
    tiny.run_msrun(tmp_path / "straight", **recipe)
    assert_same(tmp_path / "run", tmp_path / "straight")


@pytest.fixture
def earlier(straight, tmp_path):
    """A copy of the finished run, as if it had stopped three steps before."""
    folder = tmp_path / "ckpt"
    shutil.copytree(straight, folder, ignore=shutil.ignore_patterns("*_60*.ckpt"))
    return folder


def test_a_damaged_checkpoint_is_passed_over(earlier, straight, capfd):
    newest = earlier / "tiny-12_59.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    main(earlier)
    output = capfd.readouterr().out
    assert "tiny-12_59.ckpt: is truncated" in output and "trying the one before" in output
    assert "tiny-12_58.ckpt: 58 of 60 steps are done" in output
    assert_same(earlier, straight)


def test_when_no_checkpoint_is_good(earlier):
    for file in earlier.glob("*.ckpt"):
        file.write_bytes(b"nothing")
    with pytest.raises(SystemExit, match="none of the 2 checkpoints in .* can be read"):
        main(earlier)


def test_another_recipe_is_refused(earlier):
    with pytest.raises(
        SystemExit, match="another recipe, and results would change: base_tau 0.98 -> 0.5, seed 42 -> 7"
    ):
        main(earlier, seed=7, base_tau=0.5)
    with pytest.raises(SystemExit, match="another recipe.* num_samples 160 -> 161"):
        main(earlier, num_samples=161)


def test_two_runs_do_not_share_a_folder(tmp_path):
    first = tiny.start(tmp_path, **RECIPE)
    read_lines(first, 1)
    output = tiny.run(tmp_path, code=1, **{**RECIPE, "resume": "auto"})
    first.kill(), first.communicate()
    assert f"ckpt_save_dir: another process trains into '{tmp_path}' now" in output


def test_weights_to_start_from_are_not_a_run_to_resume(earlier, tmp_path, capfd):
    backbone = earlier / "tiny-12_59_backbone.ckpt"
    argv = tiny.arguments(earlier, **RECIPE)[1:]
    with pytest.raises(SystemExit, match="holds the checkpoints of an earlier run: --resume goes on with it"):
        train.main(argv)
    with pytest.raises(SystemExit, match="is no full checkpoint of a run; --ckpt_path starts from weights"):
        train.main([*argv, "--resume", str(backbone)])
    with pytest.raises(SystemExit, match=f"no checkpoint of tiny in '{tmp_path}/empty'"):
        main(tmp_path / "empty")
    argv = tiny.arguments(tmp_path / "new", **{**RECIPE, "ckpt_path": backbone, "epoch_size": 1, "lr": 0})[1:]
    capfd.readouterr()
    train.main(argv)
    output = capfd.readouterr().out
    assert f"starting from {backbone}: online.backbone 10/10 loaded" in output and "resuming" not in output


def test_a_finished_run_has_nothing_left_to_do(straight, capfd):
    main(straight)
    output = capfd.readouterr().out
    assert "60 of 60 steps are done" in output and "--ckpt_path " + str(straight / "tiny-12_60_backbone.ckpt") in output


def test_a_full_disk_stops_the_run_and_harms_nothing(earlier, straight):
    before = {file.name: file.read_bytes() for file in earlier.glob("*.ckpt")}
    limit = (earlier / "tiny-12_59.ckpt").stat().st_size // 2
    result = subprocess.run(
        [sys.executable, *tiny.arguments(earlier, resume=True, **RECIPE)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 1 and "cannot write checkpoint" in result.stdout, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    after = {file.name: file.read_bytes() for file in earlier.glob("*.ckpt") if file.name in before}
    assert after == before and not list(earlier.glob(UNFINISHED))
    main(earlier)
    assert_same(earlier, straight)


def test_a_second_signal_stops_at_once():
    code = "import os, signal; from mindbyol.training.signals import StopSignals\n"
    code += (
        "with StopSignals() as signals:\n    os.kill(os.getpid(), signal.SIGINT); assert signals.received == 'Ctrl-C'\n"
    )
    code += "    os.kill(os.getpid(), signal.SIGTERM); print('still here')"
    result = subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, capture_output=True, text=True)
    assert result.returncode == -signal.SIGTERM and "still here" not in result.stdout


def test_a_signal_while_the_log_is_written_is_no_error(tmp_path):
    code = "import logging, os, signal\nfrom mindbyol.terminal import setup_logging\n"
    code += "from mindbyol.training.signals import StopSignals\n"
    code += f"setup_logging({str(tmp_path)!r}); handler = logging.getLogger().handlers[-1]; flush = handler.flush\n"
    code += (
        "handler.flush = lambda: (os.kill(os.getpid(), signal.SIGTERM) if signals.received is None else 0, flush())\n"
    )
    code += (
        "with StopSignals() as signals:\n    logging.info('a line'); assert signals.received == 'SIGTERM or Ctrl-C'\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, capture_output=True, text=True)
    assert (
        result.returncode == 0 and result.stderr.count("SIGTERM or Ctrl-C: saving after this step") == 1
    ), result.stderr
    assert "Traceback" not in result.stderr and (tmp_path / "rank0.log").read_text().count("\n") == 1
