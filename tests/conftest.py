"""Every test starts in graph mode on the CPU, from the same seeds."""

import numpy as np
import pytest

import mindspore as ms

import mindbyol  # noqa: F401  (sets up the CPU before the first operator)


@pytest.fixture(autouse=True)
def _same_start():
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_seed(0)
    np.random.seed(0)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)
