"""Odd but possible inputs of the commands: one line that says what to do, before anything is compiled, or a run that
goes through."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train
import validate
from config import parse_args
from mindbyol import checkpoint
from mindbyol.build import Plan, create_byol, create_train_step
from mindbyol.data import create_source, mindrecord, source_from_args
from mindbyol.run_state import RunState
from mindbyol.runtime import World

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import make_mindrecord  # noqa: E402
import preview  # noqa: E402

RECIPE = Path(__file__).parents[2] / "configs/byol/byol_resnet18_digits_cpu.yaml"
TINY = ["-c", RECIPE, "--stages", 1, "--num_samples", 32, "--batch_size", 16, "--epoch_size", 1, "--warmup_epochs", 0]
TINY += ["--projector_hidden_size", 8, "--projection_size", 4, "--predictor_hidden_size", 8]


def error_of(main, *argv):
    """The line with which a command refuses."""
    with pytest.raises(SystemExit) as error:
        main([str(argument) for argument in argv])
    message = str(error.value)
    assert "\n" not in message
    return message


def new_state(folder, *flags):
    """The state of a run that has not taken a step."""
    args = parse_args([str(flag) for flag in [*TINY, "--ckpt_save_dir", folder, *flags]])
    source = source_from_args(args, "train", args.num_samples)
    plan = Plan(args, len(source))
    step = create_train_step(args, create_byol(args, 10), plan)
    return RunState(folder, args, step, source, plan, World("CPU"))


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Of a run in a folder of its own."""
    return new_state(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def run_folder(state):
    """A folder with the checkpoints of a run that was stopped before its first step."""
    state.save({"pending": [], "overflows": 0.0, "seconds": 1.0, "line_seconds": 1.0, "line_wait": 0.0})
    return state.folder


def test_checkpoints_of_half_precision_runs_are_written(tmp_path):
    state = new_state(tmp_path, "--amp_level", "O2")
    state.save({})
    assert "conv1.weight" in checkpoint.read(state.backbone)[0]
