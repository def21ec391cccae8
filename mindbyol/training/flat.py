"""Several tensors as one vector: what is done to each of them alike is done once."""

import math

from mindspore import nn, ops
from mindspore.ops import auto_generate

_reshape = ops.MultitypeFuncGraph("reshape")


@_reshape.register("Tensor", "Tuple")
def _reshape_one(x, shape):
    return x if x.shape == shape else x.reshape(shape)


class Flat(nn.Cell):
    """Tensors end to end, and back.

    Args:
        shapes (sequence[tuple[int]]): Their shapes.

    Inputs:
        Tuple of the tensors.

    Outputs:
        Tensor (T,): T is the number of all their elements.
    """

    def __init__(self, shapes):
        super().__init__(auto_prefix=False)
        self.shapes = tuple(shapes)
        self.sizes = tuple(math.prod(shape) for shape in self.shapes)
        self.vectors = tuple((size,) for size in self.sizes)
        self.hyper_map = ops.HyperMap()
        self.split = auto_generate.SplitWithSize()

    def construct(self, tensors):
        return ops.cat(self.hyper_map(_reshape, tensors, self.vectors))

    def parts(self, vector):
        """(T,) to the tuple of tensors."""
        return self.hyper_map(_reshape, self.split(vector, self.sizes, 0), self.shapes)
