"""Reads safetensors: the length of a header, the header in JSON, and the bare numbers of the tensors behind it.

The package of that name needs PyTorch to read bfloat16, and maps the file into memory.
"""

import json
import math
import os
import re

from mindbyol.weights.tensors import StoredTensor, item_size, numbers
from mindbyol.weights.untrusted import brief, is_int, shown

_MAX_HEADER = 2**24  # bytes: 100,000 tensors
MARK = re.compile(rb".{3}\0{5}\{", re.DOTALL)  # how a file begins: a length below that, and a JSON object

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def read(path):
    """Reads the header; tensors are read from the file when asked for.

    Returns:
        tuple: {name: StoredTensor}, and the texts that lie beside them.

    Raises:
        ValueError: It is damaged or truncated, or holds tensors of other types than floats and integers.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        raw = file.read(min(length, _MAX_HEADER))
    start = 8 + length
    try:
        if start > size:
            raise ValueError("its header is not complete")
        header = json.loads(raw)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are no texts")
        places = [_place(name, entry) for name, entry in header.items()]
        _check_places(places, size - start)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the safetensors file is damaged or truncated ({shown(error)})") from None
    tensors = {}
    for name, dtype, shape, begin, end in places:
        if dtype not in _TYPES:
            raise ValueError(f"{path}: {shown(name)} is of type {shown(dtype)}; floats and integers are read")
        tensors[name] = StoredTensor(
            shape, _TYPES[dtype], _loader(path, _TYPES[dtype], shape, start + begin, end - begin)
        )
    return tensors, metadata


def _place(name, entry):
    """(name, type, shape, first byte, byte behind the last) of an entry of the header."""
    if not isinstance(entry, dict):
        raise ValueError(f"{brief(name)} is {brief(entry)}")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    sizes = shape, offsets
    if not all(isinstance(part, list) and all(is_int(n) and n >= 0 for n in part) for part in sizes):
        raise ValueError(f"{brief(name)} has no shape or place")
    if not isinstance(dtype, str) or len(offsets) != 2 or len(shape) > 32:
        raise ValueError(f"{brief(name)} has no type, shape or place")
    known = dtype not in _TYPES or math.prod(shape) * item_size(_TYPES[dtype]) == offsets[1] - offsets[0]
    if not known:
        raise ValueError(f"the shape of {brief(name)} does not fit its place")
    return name, dtype, tuple(shape), *offsets


def _check_places(places, size):
    """Tensors lie one behind the other, without gaps, to the end of the file."""
    position = 0
    for name, _, _, begin, end in sorted(places, key=lambda place: place[3:]):
        if begin != position or end < begin:
            raise ValueError(f"{brief(name)} does not begin where the tensor before it ends")
        position = end
    if position != size:
        raise ValueError(f"{size:,} bytes of tensors, where {position:,} are needed")


def _loader(path, dtype, shape, position, size):
    def load():
        with open(path, "rb") as file:
            file.seek(position)
            raw = file.read(size)
        if len(raw) != size:
            raise ValueError(f"{path}: the file has become shorter")
        return numbers(raw, dtype).reshape(shape)

    return load
