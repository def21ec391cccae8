"""Reads the weights and the model card out of exported graphs: MINDIR and ONNX."""

import json
import math

import numpy as np

from mindbyol.weights.pickle_names import in_memory

_MINDIR_TYPES = {1: "float32", 10: "float16", 11: "float64", 6: "int32", 7: "int64"}


def read_mindir(path):
    """Returns ({name: Tensor}, card) of a MINDIR file.

    Raises:
        ValueError: It is damaged.
    """
    from google.protobuf.message import DecodeError

    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    try:
        with open(path, "rb") as file:
            model.ParseFromString(file.read())
    except DecodeError as error:
        raise ValueError(f"{path}: the MINDIR file is damaged or truncated ({error})") from None
    tensors = {}
    for parameter in model.graph.parameter:
        shape, dtype = tuple(parameter.dims), _MINDIR_TYPES.get(parameter.data_type)
        if dtype is None or math.prod(shape) * np.dtype(dtype).itemsize != len(parameter.raw_data):
            raise ValueError(f"{path}: the values of {parameter.name} are not in the file as plain numbers")
        name = parameter.name.rpartition(":")[2]  # behind the name of the function it belongs to
        tensors[name] = in_memory(np.frombuffer(parameter.raw_data, dtype).reshape(shape))
    return tensors, json.loads(model.user_info.get("card", "{}"))


def read_onnx(path):
    """Returns ({name: Tensor}, card) of an ONNX file.

    Raises:
        ValueError: It is damaged, or the package onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise ValueError(f"{path}: to read ONNX: pip install -r requirements-export.txt") from None
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{path}: the ONNX file is damaged or truncated ({error})") from None
    tensors = {entry.name: in_memory(onnx.numpy_helper.to_array(entry)) for entry in model.graph.initializer}
    cards = [entry.value for entry in model.metadata_props if entry.key == "card"]
    return tensors, json.loads(cards[0]) if cards else {}
