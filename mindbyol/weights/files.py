"""Opens a weights file by its content, whatever its name: PyTorch's two kinds, dill, safetensors, MindSpore."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mindbyol import checkpoint
from mindbyol.weights import graph_files, torch_files
from mindbyol.weights.pickle_names import Opaque, Tensor, in_memory
from mindbyol.weights.pickles import read_pickle

_OTHERS = {
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"<": "a web page or XML file; was the download redirected?",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}


# Both are protobuf: ONNX begins with a small number (IR and opset version), MINDIR with a version such as "0.1.1".
_GRAPHS = (
    (re.compile(rb"\x08[\x01-\x1f]\x12"), "ONNX", graph_files.read_onnx),
    (re.compile(rb"\n.\d+\.\d+[.\d]*\x12"), "MINDIR", graph_files.read_mindir),
)


@dataclass
class Contents:
    """What a weights file holds, in the names it came with.

    Attributes:
        path (str): The file.
        container (str): Kind of file, for people: "PyTorch zip", "safetensors", ...
        tensors (dict): Name to `Tensor`; nothing is read from disk before `Tensor.read()`.
        beside (dict): What lies beside the weights: epoch, meta, author, ...
        card (dict): Model card, empty if the file has none.
    """

    path: str
    container: str
    tensors: dict
    beside: dict = field(default_factory=dict)
    card: dict = field(default_factory=dict)


def open_weights(path):
    """Opens a weights file, judged by its content.

    Args:
        path (str): The file.

    Returns:
        Contents: The tensors, not yet read, and what lies beside them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A directory, an empty, damaged or foreign file, or a pickle that names more than tensors,
            containers and scalars.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if os.path.isdir(path):
        raise ValueError(f"{path}: a folder; name the checkpoint file in it")
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except PermissionError:
        raise ValueError(f"{path}: no permission to read it") from None
    if not start:
        raise ValueError(f"{path}: the file is empty")
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise ValueError(f"{path}: {what}, not a checkpoint")
    if start.startswith(b"PK"):
        content, card = torch_files.read_zip(path)
        return _from_pickle(path, "PyTorch zip", content, card)
    if start[0] == 0x80 and start[1] <= 5:
        if _is_legacy_torch(start):
            return _from_pickle(path, "PyTorch before 1.6", torch_files.read_legacy(path), None)
        with open(path, "rb") as file:
            return _from_pickle(path, "pickle", read_pickle(file, path), None)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= os.path.getsize(path):
        return _from_safetensors(path)
    for mark, container, read in _GRAPHS:
        if mark.match(start):
            tensors, card = read(path)
            return Contents(path, container, tensors, {}, card)
    arrays, card = checkpoint.read(path)
    return Contents(path, "MindSpore", {name: in_memory(value) for name, value in arrays.items()}, {}, card or {})


def _is_legacy_torch(start):
    return torch_files.LEGACY_MAGIC.to_bytes(10, "little") in start[:20]


def _from_safetensors(path):
    from safetensors import SafetensorError, safe_open

    try:
        # Opened as PyTorch's would read it, the package would need PyTorch for bfloat16; NumPy is enough for the rest.
        file = safe_open(path, framework="numpy")
        metadata = file.metadata() or {}
        tensors = {}
        for name in file.keys():
            part = file.get_slice(name)
            dtype = part.get_dtype()
            if dtype not in _SAFETENSORS:
                raise ValueError(f"{path}: {name} is of type {dtype}; float16, 32 and 64 and integers are read")
            tensors[name] = Tensor(
                tuple(part.get_shape()), _SAFETENSORS[dtype], lambda name=name: file.get_tensor(name)
            )
    except SafetensorError as error:
        raise ValueError(f"{path}: the safetensors file is damaged or truncated ({error})") from None
    card = json.loads(metadata["card"]) if "card" in metadata else {}
    return Contents(path, "safetensors", tensors, metadata, card)


_SAFETENSORS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def _from_pickle(path, container, content, card):
    if not isinstance(content, dict):
        what = content.name if isinstance(content, Opaque) else f"a {type(content).__name__}"
        raise ValueError(f"{path}: holds {what}, not a dictionary of weights; save the network's state_dict instead")
    if isinstance(content.get("experiment_state"), dict):
        return Contents(path, "pickle", _flatten_haiku(content["experiment_state"]), content, {})
    state = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), None)
    beside = {key: value for key, value in content.items() if not isinstance(value, Tensor)} if state else {}
    state = content if state is None else state
    if not state:
        raise ValueError(f"{path}: holds no tensors")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            what = f"an object of {value.name}" if isinstance(value, Opaque) else f"a {type(value).__name__}"
            raise ValueError(f"{path}: the weights hold {what} under {name!r}, where a tensor should be")
    return Contents(path, container, state, beside, card or {})


def _flatten_haiku(experiment_state):
    """Haiku's nested dictionaries of modules as one, with names like `online_params/projector/linear/w`."""
    tensors = {}
    for part, modules in experiment_state.items():
        if part == "opt_state" or not isinstance(modules, dict):
            continue
        for module, values in modules.items():
            for name, value in values.items() if isinstance(values, dict) else ():
                if isinstance(value, Tensor):
                    tensors[f"{part}/{module}/{name}"] = value
    return tensors


def read_float32(tensor):
    """Reads a tensor as a contiguous float32 array; half precision is widened exactly."""
    return np.asarray(tensor.read(), np.float32, order="C")


def check_output(path, suffix, source=None):
    """Makes sure that a file can be written, before any work is done.

    Args:
        path (Path): File to write.
        suffix (str): What its name must end in.
        source (Path): What it is made from, which must not be lost: a full checkpoint holds more than is converted.

    Returns:
        Path: The same.

    Raises:
        ValueError: It cannot; the message says why.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; name the file to write")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise ValueError(f"{path}: is the file that is read; write to another one")
    if path.suffix != suffix:
        raise ValueError(f"{path}: the file to write must end in {suffix}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: no permission to write in {path.parent}")
    return path
