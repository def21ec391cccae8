"""Reads the weights and the model card out of exported graphs: MINDIR and ONNX."""

import math
import os

import numpy as np

from mindbyol.weights.tensors import in_memory
from mindbyol.weights.untrusted import shown

_MINDIR_TYPES = {1: "float32", 10: "float16", 11: "float64", 6: "int32", 7: "int64"}
_ONNX_TYPES = {1, 2, 3, 6, 7, 9, 10, 11}  # float32, uint8, int8, int32, int64, bool, float16, float64
_MAX_BYTES = 2**31  # protobuf's own limit


def _whole(path):
    """The bytes of a file that protobuf could parse."""
    if os.path.getsize(path) >= _MAX_BYTES:
        raise ValueError(f"{path}: looks like MINDIR or ONNX, but no such file has 2 GiB or more")
    with open(path, "rb") as file:
        return file.read()


def read_mindir(path):
    """Returns ({name: StoredTensor}, text of the card or None) of a MINDIR file.

    Raises:
        ValueError: It is damaged.
    """
    from google.protobuf.message import DecodeError

    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(_whole(path))
    except (DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the MINDIR file is damaged or truncated ({shown(error)})") from None
    tensors = {}
    for parameter in model.graph.parameter:
        shape, dtype = tuple(parameter.dims), _MINDIR_TYPES.get(parameter.data_type)
        whole = dtype is not None and math.prod(shape) * np.dtype(dtype).itemsize == len(parameter.raw_data)
        if not whole or any(n < 0 for n in shape):
            raise ValueError(f"{path}: the values of {shown(parameter.name)} are not in the file as plain numbers")
        name = parameter.name.rpartition(":")[2]  # behind the name of the function it belongs to
        tensors[name] = in_memory(np.frombuffer(parameter.raw_data, dtype).reshape(shape))
    return tensors, model.user_info.get("card")


def read_onnx(path):
    """Returns ({name: StoredTensor}, text of the card or None) of an ONNX file.

    Raises:
        ValueError: It is damaged, or the package onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise ValueError(
            f"{path}: ONNX cannot be read without the package onnx; pip install -r requirements-export.txt"
        ) from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(_whole(path))
    except (DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the ONNX file is damaged or truncated ({shown(error)})") from None
    tensors = {}
    for entry in model.graph.initializer:
        if entry.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(f"{path}: the values of {shown(entry.name)} are in another file; save all in one")
        if entry.data_type not in _ONNX_TYPES:
            raise ValueError(f"{path}: the values of {shown(entry.name)} are no plain numbers")
        try:
            tensors[entry.name] = in_memory(onnx.numpy_helper.to_array(entry))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: the values of {shown(entry.name)} are damaged ({shown(error)})") from None
    return tensors, next((entry.value for entry in model.metadata_props if entry.key == "card"), None)
