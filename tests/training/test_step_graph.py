"""What the compiled step is made of."""

import re

import pytest

import mindspore as ms

from mindbyol.training.loss_scale import LossScale
from mindbyol.training.measures import Measures
from tests.training.test_build import batch, tiny_network
from tests.training.test_large_batches import create_step


@pytest.fixture
def graphs(tmp_path):
    ms.set_context(save_graphs=2, save_graphs_path=str(tmp_path))
    yield tmp_path
    ms.set_context(save_graphs=0)


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("scale", [None, 8.0])
def test_no_control_flow_and_no_python(graphs, accumulation, scale):
    """Ascend's graph engine (jit level O2) refuses a graph with control flow; PyExecute calls Python from the graph."""
    step = create_step(tiny_network(), accumulation, scale and LossScale(scale, True), noted=True)
    measures = Measures(step)
    measures.before_step()
    for k in range(accumulation):
        step(*batch(k))
    measures.after_step()
    compiled = [file.read_text() for file in graphs.glob("*_validate_*.ir")]
    assert len(compiled) == accumulation + 2 and sum("ApplyMomentum(" in text for text in compiled) == 1
    for text in compiled:
        found = re.findall(r"\b(?:Switch|SwitchLayer|PyExecute|PyInterpret|Partial)\(.*", text)
        assert not found, found[:3]
