"""What must not damage a run, its checkpoints, or a file that is not its own."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mindspore import Tensor

from mindbyol import checkpoint
from mindbyol.model_card import Card
from mindbyol.training.log import TrainLog
from tests.tasks import tiny, tiny_train

STEP = SimpleNamespace(statistics=("byol_loss", "projection_std", "tau", "lr"), states=("tau", "lr"))
PLAN = SimpleNamespace(epochs=2, total_steps=8, steps_per_epoch=4, effective_batch=64, accumulation=1)
SHORT = {"epoch_size": 2, "ckpt_save_steps": 1, "keep_checkpoint_max": 3}  # 10 steps


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "ckpt"
    tiny.run(folder, **SHORT)
    return folder


def copy(finished, tmp_path, remove=()):
    folder = tmp_path / "ckpt"
    shutil.copytree(finished, folder)
    for pattern in remove:
        for file in folder.glob(pattern):
            file.unlink()
    return folder


def refusal(folder, capfd, **recipe):
    """What a resumed run in this process says when it is refused."""
    with pytest.raises(SystemExit) as stop:
        tiny_train.main(tiny.arguments(folder, **{**SHORT, "resume": "newest", **recipe})[1:])
    return f"{stop.value.code}\n{capfd.readouterr().out}"


def rewrite(path, change):
    arrays, card = checkpoint.read(path)
    content = card.to_dict()
    change(arrays, content)
    checkpoint.write(path, arrays, Card.from_dict(content, path))


def poison(arrays, _card):
    arrays["online.backbone.conv1.weight"] = arrays["online.backbone.conv1.weight"] * np.nan


def test_what_is_not_finite_is_not_saved_and_evicts_nothing(tmp_path):
    output = tiny.run(tmp_path / "ckpt", code=1, opt="sgd", lr="1e30", log_interval=100, **SHORT)
    assert "the loss is" in output or "NaN or infinite" in output
    for file in (tmp_path / "ckpt").glob("*.ckpt"):
        checkpoint.check_finite(checkpoint.read(file)[0], file)


def test_weights_that_are_not_finite_are_not_resumed(finished, tmp_path, capfd):
    folder = copy(finished, tmp_path, ["*_10*"])
    rewrite(folder / "tiny-2_9.ckpt", poison)
    tiny_train.main(tiny.arguments(folder, resume=True, **SHORT)[1:])
    output = capfd.readouterr().out
    assert "NaN or infinite" in output and "trying the one before" in output
    assert "resuming from" in output and "tiny-2_8.ckpt: 8 of 10 steps are done" in output
    rewrite(folder / "tiny-2_9.ckpt", poison)
    assert "tiny-2_9.ckpt: online.backbone.conv1.weight holds" in refusal(
        folder, capfd, resume=str(folder / "tiny-2_9.ckpt")
    )


def test_other_images_of_the_same_number_are_not_resumed_with(finished, tmp_path, capfd):
    folder = copy(finished, tmp_path, ["*_10*"])

    def other_names(_arrays, card):
        card["run"]["images"]["names"] = "0"

    def other_contents(_arrays, card):
        card["run"]["images"]["contents"] = "0"

    newest = folder / "tiny-2_9.ckpt"
    rewrite(newest, other_names)
    assert "their number is the same, their names are not" in refusal(folder, capfd)
    shutil.copy(finished / newest.name, newest)
    rewrite(newest, other_contents)
    assert "their number is the same, their contents are not" in refusal(folder, capfd)
    rewrite(newest, lambda _, card: card["run"].pop("images"))  # a checkpoint that says nothing of them
    tiny_train.main(tiny.arguments(folder, resume=True, **SHORT)[1:])


@pytest.mark.parametrize("step", [10**9])
def test_a_step_beyond_the_run_is_refused(finished, tmp_path, capfd, step):
    folder = copy(finished, tmp_path)
    rewrite(folder / "tiny-2_10.ckpt", lambda _, card: card.update(step=step))
    assert f"is at step {step} of a run of 10" in refusal(folder, capfd)


def test_going_on_from_outside_leaves_another_run_alone(finished, tmp_path, capfd):
    other = tmp_path / "other"
    other.mkdir()
    (other / "resnet18-1_5.ckpt").write_bytes(b"a checkpoint of another model")
    (other / "metrics.jsonl").write_text('{"step": 90}\n')
    (other / "config.yaml").write_text("model: resnet18\n")
    before = {file.name: file.read_bytes() for file in other.iterdir()}
    for remove in (None, "resnet18-1_5.ckpt", "config.yaml"):
        if remove:
            (other / remove).unlink()
            del before[remove]
        assert "of another run" in refusal(other, capfd, resume=str(finished / "tiny-2_10.ckpt"))
        assert {file.name: file.read_bytes() for file in other.iterdir()} == before


def stop_at(process, text="Epoch: ["):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError("the run ended too early")


def test_an_output_folder_that_goes_away_stops_the_run(finished, tmp_path):
    process = tiny.start(tmp_path / "run", **SHORT)
    stop_at(process, "batch: [2/5]")
    (tmp_path / "run").rename(tmp_path / "moved")
    output = process.communicate()[0]
    assert process.returncode == 1 and "Traceback" not in output and "cannot write checkpoint" in output, output
    assert not (tmp_path / "run").exists()
    tiny_train.main(tiny.arguments(tmp_path / "moved", resume=True, **SHORT)[1:])
    expected, got = tiny.newest(finished), tiny.newest(tmp_path / "moved")
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    losses = [[line["loss"] for line in tiny.metrics(run)] for run in (finished, tmp_path / "moved")]
    assert losses[0] == losses[1]


def test_data_that_go_away_stop_the_run(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    draw = np.random.default_rng(0)
    for number in range(32):
        Image.fromarray(draw.integers(0, 255, (16, 16, 3), np.uint8)).save(data / f"{number}.png")
    recipe = {**SHORT, "dataset": "folder", "data_dir": data, "num_samples": 32, "batch_size": 16}
    recipe["epoch_size"] = 100_000
    process = tiny.start(tmp_path / "run", **recipe)
    stop_at(process)
    data.rename(tmp_path / "moved")
    output = process.communicate()[0]
    assert process.returncode == 1 and "Traceback" not in output and "cannot be read" in output, output
    assert list((tmp_path / "run").glob("tiny-*.ckpt"))
    (tmp_path / "moved").rename(data)
    process = tiny.start(tmp_path / "run", resume=True, **recipe)
    stop_at(process, "resuming from")
    stop_at(process)
    process.terminate()
    assert process.communicate()[0] and process.returncode == 75


def test_msruns_variables_without_msrun(tmp_path, monkeypatch):
    monkeypatch.setenv("MS_WORKER_NUM", "2")
    for name in ("MS_ROLE", "MS_SCHED_HOST", "MS_SCHED_PORT"):
        monkeypatch.delenv(name, raising=False)
    output = tiny.run(tmp_path / "ckpt", code=1)
    assert "distribute: MS_WORKER_NUM is set, as by msrun, but MS_ROLE is not" in output and "Traceback" not in output


def test_a_full_disk_names_the_file(tmp_path):
    log = TrainLog(tmp_path, STEP, PLAN, 1, {})
    log.metrics.close()
    log.metrics = open("/dev/full", "a")
    log.add(Tensor(2.0), Tensor([2.0, 0.06, 0.99, 0.1]))
    with pytest.raises(OSError, match="cannot write '/dev/full': No space left on device"):
        log.end_step(0.0)
    log.close()


def test_results_replace_files_only(finished, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    recipe = {"ckpt_path": finished / "tiny-2_10.ckpt", "results": pipe}
    output = tiny.run(tmp_path / "out", code=1, script=tiny.VALIDATE, **recipe)
    assert f"results: '{pipe}' is no regular file" in output
    assert pipe.is_fifo() and not list(tmp_path.glob("*.partial"))
    link, file = tmp_path / "link.json", tmp_path / "scores.json"
    file.touch()
    link.symlink_to(file)
    tiny.run(tmp_path / "out", script=tiny.VALIDATE, **{**recipe, "results": link})
    assert link.is_symlink() and "score" in json.loads(file.read_text().splitlines()[0])


@pytest.mark.parametrize("script, flags", [("preview.py", "--dataset digits --output"), ("export.py", None)])
def test_other_outputs_replace_files_only(finished, tmp_path, script, flags):
    pipe = tmp_path / ("pipe.ckpt" if script == "export.py" else "pipe.png")
    os.mkfifo(pipe)
    flags = flags or f"{finished}/tiny-2_10_backbone.ckpt --format mindcv -o"
    command = [sys.executable, f"{tiny.ROOT}/scripts/{script}", *flags.split(), str(pipe)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "no regular file, so nothing is written there" in done.stderr, done.stderr
    assert pipe.is_fifo()
