"""A run that an earlier version began goes on with this one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mindbyol import checkpoint
from tests.tasks import tiny, tiny_train

# Step 10 of 20 of tiny.RECIPE, written by version 0.1.0 before recipes had a `task` and keys said what they change.
OLDER = Path(__file__).parent / "fixtures" / "run_of_version_0_1_0.bin"


def begun(folder, **config):
    """A folder with the older run, its recipe changed."""
    folder.mkdir()
    arrays, card = checkpoint.read(OLDER)
    run = {**card.run, "config": {**card.run["config"], **config}}
    checkpoint.write(folder / "tiny-2_10.ckpt", arrays, replace(card, run=run))
    return folder


def test_it_goes_on_to_its_end(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(OLDER, folder / "tiny-2_10.ckpt")
    tiny_train.main(tiny.arguments(folder, resume=True)[1:])
    lines = tiny.metrics(folder)
    assert [line["step"] for line in lines] == list(range(11, 21))
    expected = json.loads(OLDER.with_suffix(".json").read_text())  # losses of steps 11 to 20, by the version of then
    assert [line["byol_loss"] for line in lines] == pytest.approx(expected, rel=1e-3)


def test_one_more_key_counts_as_its_default_and_one_less_is_named(tmp_path, capsys):
    arrays, card = checkpoint.read(OLDER)
    config = {key: value for key, value in card.run["config"].items() if key != "jitter"}
    card = replace(card, run={**card.run, "config": {**config, "no_longer": 7}})
    (tmp_path / "run").mkdir()
    checkpoint.write(tmp_path / "run" / "tiny-2_10.ckpt", arrays, card)
    tiny_train.main(tiny.arguments(tmp_path / "run", resume=True, log_interval=100)[1:])
    assert "was made with no_longer 7, a key that there is no more" in capsys.readouterr().out
    assert (tmp_path / "run" / "tiny-4_20.ckpt").exists()


def test_a_key_that_changes_results_is_compared(tmp_path):
    with pytest.raises(SystemExit, match="results would change: jitter deepmind -> torchvision"):
        tiny_train.main(tiny.arguments(begun(tmp_path / "run"), resume=True, jitter="torchvision")[1:])
    with pytest.raises(SystemExit, match="results would change: jitter torchvision -> deepmind"):
        tiny_train.main(tiny.arguments(begun(tmp_path / "other", jitter="torchvision"), resume=True)[1:])
