"""Tensors of a file, which are read when they are asked for, and how PyTorch and NumPy describe them in a pickle."""

import math
import re
from dataclasses import dataclass
from typing import Callable

import numpy as np

from mindbyol.weights.untrusted import is_int, require

_MAX_DIMENSIONS = 32  # NumPy's


@dataclass(eq=False)
class StoredTensor:
    """An array that is read only when asked for, so that optimizer state costs nothing."""

    shape: tuple
    dtype: str
    load: Callable[[], np.ndarray]

    def read(self):
        """Returns the values as an np.ndarray of `shape`; bfloat16 is widened to float32.

        Raises:
            ValueError: Its data are damaged or do not fit into memory.
        """
        try:
            return self.load()
        except MemoryError:
            raise ValueError(f"not enough memory for a tensor of shape {self.shape}") from None


def in_memory(array):
    """An array that has been read already, as a `StoredTensor`."""
    return StoredTensor(array.shape, array.dtype.name, lambda: array)


def item_size(dtype):
    """Bytes of one value."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def numbers(raw, dtype, order="<"):
    """Bytes as a flat array; NumPy has no bfloat16, so that is widened to float32 (exactly)."""
    if dtype == "bfloat16":
        return (np.frombuffer(raw, order + "u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder(order))


def checked_sizes(sizes):
    """Returns a tuple of numbers that are no negative, such as a shape; refuses anything else."""
    known = isinstance(sizes, tuple) and len(sizes) <= _MAX_DIMENSIONS and all(is_int(n) and n >= 0 for n in sizes)
    require(known, "the shape {}", sizes)
    return sizes


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TorchStorage:
    """The flat memory behind PyTorch tensors: `read()` gives a one-dimensional array of `size` elements."""

    dtype: str
    size: int
    read: Callable[[], np.ndarray]


def torch_tensor(storage, offset, shape, stride, _requires_grad=False, _hooks=None, metadata=None):
    """What PyTorch calls `_rebuild_tensor_v2`; a stride of 0 repeats values, as `Tensor.expand` does."""
    require(isinstance(storage, TorchStorage), "a tensor without a storage")
    count = math.prod(checked_sizes(shape))
    require(len(checked_sizes(stride)) == len(shape) and is_int(offset), "a tensor without plain strides")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride)) if count else 0
    inside = 0 <= offset and (last < storage.size or not count)
    require(inside, "a tensor of shape {} that reaches outside its storage", shape)
    # PyTorch may store the sign of a whole tensor as a mark beside it. (The other mark, conj, is for complex numbers.)
    negative = isinstance(metadata, dict) and "neg" in metadata
    require(not negative or storage.dtype[0] in "fbi" and storage.dtype != "bool", "a negative {}", storage.dtype)

    def load():
        flat = storage.read()
        steps = [step * flat.itemsize for step in stride]
        # Bounds were checked above; the copy detaches the tensor from a storage that others share.
        array = np.lib.stride_tricks.as_strided(flat[offset:], shape, steps).copy()
        return -array if negative else array

    return StoredTensor(shape, storage.dtype, load)


# ---- NumPy -----------------------------------------------------------------------------------------------------------


class NumpyArray(StoredTensor):
    """An ndarray under construction: NumPy pickles an empty one and then sets its state."""

    def __init__(self):
        super().__init__((0,), "uint8", lambda: np.empty(0, np.uint8))

    def set_state(self, state):
        require(isinstance(state, tuple) and len(state) == 5, "an array without its values")
        _, shape, dtype, fortran, raw = state
        self.fill(shape, dtype, "F" if fortran is True else "C", raw)

    def fill(self, shape, dtype, order, raw):
        plain = isinstance(dtype, DType) and isinstance(raw, (bytes, bytearray, str))  # text: from Python 2
        require(plain, "an array without plain numbers")
        count, numpy_dtype = math.prod(checked_sizes(shape)), dtype.numpy()
        require(count * numpy_dtype.itemsize == len(raw), "an array of shape {} with {} bytes", shape, len(raw))

        def load():
            data = raw.encode("latin-1") if isinstance(raw, str) else raw
            return np.frombuffer(data, numpy_dtype).reshape(shape, order=order)

        self.shape, self.dtype, self.load = shape, numpy_dtype.name, load


class DType:
    """A NumPy dtype of plain numbers."""

    def __init__(self, code):
        known = isinstance(code, str) and re.fullmatch(r"[<>=|]?[biufc][0-9]{1,2}", code)
        require(known, "the NumPy dtype {}", code)
        self.code = code.lstrip("<>=|")
        self.order = code[0] if code[0] in "<>" else "="

    def set_state(self, state):
        known = isinstance(state, tuple) and len(state) >= 5 and state[1] in tuple("<>=|")
        require(known and all(part is None for part in state[2:5]), "a structured NumPy dtype")
        self.order = state[1]

    def numpy(self):
        return np.dtype(self.order + self.code)


def numpy_frombuffer(raw, dtype, shape, order):
    """What NumPy calls `_frombuffer`."""
    array = NumpyArray()
    array.fill(shape, dtype, "F" if order == "F" else "C", raw)
    return array


def numpy_scalar(dtype, raw=None):
    """What NumPy calls `scalar`."""
    require(isinstance(dtype, DType) and isinstance(raw, (bytes, str)), "a NumPy scalar without plain numbers")
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, dtype.numpy(), 1)[0].item()
