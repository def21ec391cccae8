"""The entries of a MindSpore checkpoint, read with every size checked.

MindSpore's own reader believes a file: a shape that does not fit the bytes beside it ends the process, or is filled
with whatever lies in memory.
"""

import binascii
import math
from itertools import groupby

import numpy as np
from google.protobuf.message import DecodeError

from mindspore.common import np_dtype
from mindspore.train.checkpoint_pb2 import Checkpoint

_PLAIN = "Int8 UInt8 Int16 UInt16 Int32 UInt32 Int64 UInt64 Float16 Float32 Float64 Bool".split()
_TYPES = {name: np.dtype(name.lower()) for name in _PLAIN}
_MAX_DIMENSIONS = 32  # NumPy's
_CRC_MARK, _CRC_SIZE = b"crc_num", 17  # what `save_checkpoint(crc_check=True)` appends: the mark and ten bytes


def read_entries(path):
    """Reads a MindSpore checkpoint.

    Args:
        path (Path): The file.

    Returns:
        dict: Name to what is stored under it, an ndarray (writable, of its own memory) or a text.

    Raises:
        ValueError: It is no checkpoint or damaged; the message says how, and does not name the file.
    """
    with open(path, "rb") as file:
        raw = file.read()
    if not raw:
        raise ValueError("it is empty")
    if raw[-_CRC_SIZE:].startswith(_CRC_MARK):
        expected = int.from_bytes(raw[-_CRC_SIZE + len(_CRC_MARK) :], "big")
        raw = memoryview(raw)[:-_CRC_SIZE]
        if binascii.crc32(raw) != expected:
            raise ValueError("its checksum is wrong")
    file_content = Checkpoint()
    try:
        file_content.ParseFromString(raw)
    except (DecodeError, UnicodeDecodeError):
        raise ValueError("its structure is broken") from None
    found = {}
    # What is larger than 512 MB comes in slices, one behind the other.
    for name, slices in groupby(file_content.value, lambda entry: entry.tag):
        if name in found:
            raise ValueError(f"{name!a:.80} is there twice")
        tensors = [entry.tensor for entry in slices]
        found[name] = _value(name, tensors[-1], b"".join(tensor.tensor_content for tensor in tensors))
    return found


def _value(name, tensor, raw):
    """What one entry holds: an array, or a text."""
    kind, shape = tensor.tensor_type, tuple(tensor.dims)
    if kind == "str":
        try:
            return raw.decode("utf-32-le", "surrogatepass").rstrip("\0")
        except UnicodeDecodeError:
            raise ValueError(f"{name!a:.80} is no text") from None
    if kind == "BFloat16" and np_dtype.np_dtype_valid(True):
        dtype = np.dtype(np_dtype.bfloat16)
    elif kind in _TYPES:
        dtype = _TYPES[kind]
    else:
        raise ValueError(f"{name!a:.80} is of the type {kind!a:.80}")
    if shape == (0,) and raw:  # so MindSpore writes a scalar
        shape = ()
    if len(shape) > _MAX_DIMENSIONS or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"{name!a:.80} has {len(raw):,} bytes, which is not what its shape needs")
    return np.frombuffer(raw, dtype).reshape(shape).copy()
