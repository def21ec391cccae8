"""What happens before the first step."""

import subprocess
import sys

import pytest

import mindspore as ms

from tests.tasks.tiny import ROOT

BUILD = """
from mindbyol.config import parse_args
from mindbyol.pretraining import create_byol, create_train_step
from mindbyol.training.plan import Plan

argv = ["--model", "MODEL", "--projector_hidden_size", "8", "--predictor_hidden_size", "8", "--amp_level", "O2"]
argv += ["--loss_scale_type", "dynamic", "--gradient_accumulation_steps", "2", "--opt", "OPT"]
recipe = parse_args(argv)
create_train_step(recipe, create_byol(recipe, num_classes=10), Plan(recipe, 100000))
"""
ONE_OPERATOR = "from mindspore import Tensor; Tensor([1.0]).reshape(1, 1)"
# MindSpore lets nobody choose a device once an operator has run.
NONE_HAS_RUN = """
import mindspore as ms
from mindspore.common.api import _pynative_executor

_pynative_executor.sync()
try:
    ms.set_device("CPU")
    print("no operator has run")
except RuntimeError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(ms, "set_device"), reason="MindSpore before 2.5 does not say whether an operator ran")
@pytest.mark.parametrize(
    "code, none_has_run",
    [
        (BUILD.replace("MODEL", "resnet18").replace("OPT", "lars"), True),
        pytest.param(BUILD.replace("MODEL", "densenet121").replace("OPT", "adamw"), True, marks=pytest.mark.slow),
        (ONE_OPERATOR, False),
    ],
    ids=["resnet18", "densenet121", "control"],
)
def test_building_runs_no_operator(code, none_has_run):
    """On a device, each would be compiled on its own before there is a graph."""
    done = subprocess.run([sys.executable, "-c", code + NONE_HAS_RUN], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("no operator has run" in done.stdout) == none_has_run, done.stdout
    assert ("has been initialized" in done.stdout) != none_has_run, done.stdout
