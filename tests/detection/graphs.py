"""Functions of tensors as compiled graphs, called with arrays."""

import numpy as np

import mindspore as ms
from mindspore import Tensor, nn, ops


class _Function(nn.Cell):
    def __init__(self, function, constants, weights=None):
        super().__init__()
        self.function = function
        self.constants = constants
        self.weights = weights

    def construct(self, *inputs):
        found = self.function(*inputs, *self.constants)
        return found if self.weights is None else (found * self.weights).sum()


def in_graph(function, *arrays, constants=()):
    """What a function of tensors, and then of constants, gives in graph mode: an array, or a list of them."""
    ms.set_context(mode=ms.GRAPH_MODE)
    found = _Function(function, constants)(*(Tensor(array) for array in arrays))
    return [one.asnumpy() for one in found] if isinstance(found, tuple) else found.asnumpy()


def gradient(function, weights, *arrays, constants=()):
    """The gradient of sum(weights * function(first, ...)) to the first array, in graph mode."""
    ms.set_context(mode=ms.GRAPH_MODE)
    cell = _Function(function, constants, Tensor(weights))
    return ops.grad(cell, 0)(*(Tensor(array) for array in arrays)).asnumpy()


def numeric_gradient(function, weights, first, *rest, step=1e-6):
    """The same of a function of float64 arrays by central differences."""
    first = first.astype(np.float64)
    found = np.zeros_like(first)
    for place in np.ndindex(*first.shape):
        ahead, behind = first.copy(), first.copy()
        ahead[place] += step
        behind[place] -= step
        difference = function(ahead, *rest) - function(behind, *rest)
        found[place] = (difference * weights).sum() / (2 * step)
    return found


def random_boxes(rng, *shape, side=64):
    """Boxes (..., 4) float32 within a square image."""
    corners = np.sort(rng.uniform(0, side, (*shape, 2, 2)), -2)
    return corners.reshape(*shape, 4).astype(np.float32)
