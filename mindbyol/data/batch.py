"""What a batch is: named arrays with a row an image, and how they lie in one block of memory."""

import math
from typing import NamedTuple, Optional

import numpy as np

_ALIGNMENT = 64  # Bytes.


class Batch(NamedTuple):
    """Some images as a transform made them, with their labels. Rows that do not count are zero in every array.

    Attributes:
        arrays (dict[str, numpy.ndarray]): By the names of the transform's `outputs`, in their order; shape (B, ...).
        labels (numpy.ndarray or None): Those of the source, shape (B, ...) and their dtype.
        indices (numpy.ndarray): int64, shape (B,): the index in the source of the image in each row, -1 where there is
            none. Of an unreadable image that was replaced, the index of the one in its place.
        counts (numpy.ndarray): bool, shape (B,): whether a row holds an image. False where the last batch is filled up
            to its size, and for images that were left out.
    """

    arrays: dict
    labels: Optional[np.ndarray]
    indices: np.ndarray
    counts: np.ndarray


class BatchLayout:
    """Where the arrays of a batch lie in a block of memory: one to share between processes, and one copy to make.

    Args:
        outputs (Mapping[str, tuple[tuple[int, ...], dtype]]): Shape and dtype of one sample of each array.
        batch_size (int): Rows of each array.

    Attributes:
        nbytes (int): Size of the block.
    """

    def __init__(self, outputs, batch_size):
        self._places = []
        self.nbytes = 0
        for name, (shape, dtype) in outputs.items():
            shape, dtype = (batch_size, *shape), np.dtype(dtype)
            start = math.ceil(self.nbytes / _ALIGNMENT) * _ALIGNMENT
            self.nbytes = start + math.prod(shape) * dtype.itemsize
            self._places.append((name, start, self.nbytes, dtype, shape))

    def arrays(self, block):
        """Returns the arrays (dict[str, numpy.ndarray]) that lie in a block (a buffer of `nbytes` bytes)."""
        block = np.frombuffer(block, np.uint8)
        return {name: block[start:end].view(dtype).reshape(shape) for name, start, end, dtype, shape in self._places}
