"""Opens a weights file by its content, whatever its name: PyTorch's two kinds, dill, safetensors, MindSpore."""

import functools
import math
import os
import re
import stat
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from mindbyol import checkpoint
from mindbyol.model_card import Card, parse_card
from mindbyol.weights import graph_files, safetensors_files, torch_files
from mindbyol.weights.pickles import read_pickle
from mindbyol.weights.tensors import StoredTensor, in_memory
from mindbyol.weights.untrusted import brief, is_scalar

_OTHERS = {
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"<": "a web page or XML file; was the download redirected?",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}

_MAX_NAME = 500
_MAX_VALUES = 2**28  # of one tensor: 1 GiB of float32; the largest layer of a vision network has 2**25
_MAX_BESIDE = 1000  # entries beside the weights
_MAX_HAIKU = 100_000  # entries

# All three are protobuf, without a mark of their own. ONNX begins with a small number (IR and opset version), MINDIR
# with a version such as "0.1.1", a checkpoint with an entry whose name comes first.
_MINDSPORE, _MAX_MINDSPORE = re.compile(rb"\n[\x80-\xff]{0,4}[\0-\x7f]\n"), 2**34  # bytes; it is read as a whole
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
        tensors (dict): Name to `StoredTensor`; nothing is read from disk before `StoredTensor.read()`.
        beside (dict): What lies beside the weights: epoch, meta, author, ...
        card (Card): Model card; one that says nothing if the file has none.
    """

    path: str
    container: str
    tensors: dict
    beside: dict = field(default_factory=dict)
    card: Card = Card()


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
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise ValueError(f"{path}: a folder; name the checkpoint file in it")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: not a regular file but a FIFO, device or socket, which is not read")
    try:
        contents = _open(path)
    except PermissionError:
        raise ValueError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise ValueError(f"{path}: not enough memory to read it") from None
    for name, tensor in contents.tensors.items():
        if not isinstance(name, str):
            raise ValueError(f"{path}: the weights hold an entry under {brief(name)}, which is no name of a tensor")
        if not name.isprintable() or len(name) > _MAX_NAME:
            raise ValueError(f"{path}: {brief(name)} of {len(name)} characters is no name of a tensor")
        if math.prod(tensor.shape) > _MAX_VALUES:
            raise ValueError(f"{path}: {name} has {math.prod(tensor.shape):,} values; at most {_MAX_VALUES:,} are read")
    return contents


def read_card(path):
    """The model card of a weights file, which says nothing where there is none. Errors are those of `open_weights`."""
    status = os.stat(path)
    return _card_of(os.fspath(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _card_of(path, _size, _time):
    """A suite asks for the card of one file many times, and MindSpore's are read whole."""
    return open_weights(path).card


def _open(path):
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        raise ValueError(f"{path}: the file is empty")
    if safetensors_files.MARK.match(start):  # first: the length that it begins with may look like another's mark
        tensors, metadata = safetensors_files.read(path)
        return Contents(path, "safetensors", tensors, metadata, parse_card(metadata.get("card"), path))
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise ValueError(f"{path}: {what}, not a checkpoint")
    if start.startswith(b"PK"):
        content, card = torch_files.read_zip(path)
        return _from_pickle(path, "PyTorch zip", content, parse_card(card, path))
    if start[0] == 0x80 and start[1:2] <= b"\x05":
        if _is_legacy_torch(start):
            return _from_pickle(path, "PyTorch before 1.6", torch_files.read_legacy(path))
        with open(path, "rb") as file:
            return _from_pickle(path, "pickle", read_pickle(file, path))
    for mark, container, read in _GRAPHS:
        if mark.match(start):
            tensors, card = read(path)
            return Contents(path, container, tensors, {}, parse_card(card, path))
    if not _MINDSPORE.match(start):
        raise ValueError(f"{path}: not a MindSpore checkpoint, nor any other kind of weights file that is known")
    if os.path.getsize(path) > _MAX_MINDSPORE:
        raise ValueError(f"{path}: a MindSpore checkpoint is read as a whole, and this has more than 16 GiB")
    arrays, card = checkpoint.read(path)
    return Contents(path, "MindSpore", {name: in_memory(value) for name, value in arrays.items()}, {}, card)


def _is_legacy_torch(start):
    return torch_files.LEGACY_MAGIC.to_bytes(10, "little") in start[:20]


def _from_pickle(path, container, content, card=Card()):
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: holds {brief(content)}, not a dictionary of weights; save the network's state_dict instead"
        )
    if isinstance(content.get("experiment_state"), dict):
        tensors = _flatten_haiku(path, content["experiment_state"])
        return Contents(path, "pickle", tensors, _plain(content))
    inner = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), None)
    state = content if inner is None else inner
    if not state:
        raise ValueError(f"{path}: holds no tensors")
    for name, value in state.items():
        if not isinstance(value, StoredTensor):
            raise ValueError(f"{path}: the weights hold {brief(value)} under {brief(name)}, where a tensor should be")
    return Contents(path, container, state, {} if inner is None else _plain(content), card)


def _plain(content):
    """What lies beside the weights, as far as it is scalars or dictionaries of scalars: the rest may be endless."""
    first = dict(islice(content.items(), _MAX_BESIDE))
    groups = {name: _scalars(value) for name, value in first.items() if isinstance(value, dict)}
    return {**_scalars(first), **groups}


def _scalars(group):
    first = islice(group.items(), _MAX_BESIDE)
    return {name: value for name, value in first if isinstance(value, str) or is_scalar(value)}


_HAIKU_PARTS = ("online_params", "target_params", "online_state", "target_state")


def _flatten_haiku(path, experiment_state):
    """Haiku's nested dictionaries of modules as one, with names like `online_params/projector/linear/w`."""
    parts = {part: experiment_state.get(part) for part in _HAIKU_PARTS}
    entries = (
        (part, module, name, value)
        for part, modules in parts.items()
        for module, values in (modules.items() if isinstance(modules, dict) else ())
        for name, value in (values.items() if isinstance(values, dict) else ())
    )
    tensors = {}
    for count, (part, module, name, value) in enumerate(entries):
        if count == _MAX_HAIKU:
            raise ValueError(f"{path}: holds more than {_MAX_HAIKU:,} entries")
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError(f"{path}: {part} holds {brief(module)}, {brief(name)} where names are needed")
        if isinstance(value, StoredTensor):
            tensors[f"{part}/{module}/{name}"] = value
    return tensors


def read_float32(tensor, name):
    """Reads a tensor as a contiguous float32 array; half precision is widened exactly, too large is infinite.

    Raises:
        ValueError: It holds no real numbers, as no weight does.
    """
    array = tensor.read()
    if array.dtype.kind in "iubc":
        raise ValueError(f"{name} holds {array.dtype}, not real numbers; is it a checkpoint?")
    with np.errstate(over="ignore"):  # without a warning: whoever reads weights calls `checkpoint.check_finite`
        return np.asarray(array, np.float32, order="C")
