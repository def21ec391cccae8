"""PyTorch's files without PyTorch: reads `.pth` and Lightning's `.ckpt`, writes a `.pth` that `torch.load` takes."""

import functools
import io
import json
import math
import os
import pickle
import zipfile

import numpy as np

from mindbyol.weights.pickle_names import Global, TorchStorage, require
from mindbyol.weights.pickles import read_pickle

CARD_ENTRY = "extra/mindbyol.json"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


def _item_size(dtype):
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _numbers(raw, dtype, order="<"):
    """The bytes of a storage as a flat array; NumPy has no bfloat16, so that is widened to float32 (exactly)."""
    if dtype == "bfloat16":
        return (np.frombuffer(raw, order + "u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder(order))


def _storage_key(identity):
    require(
        isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage", "an unknown reference"
    )
    _, kind, key, _location, size = identity[:5]
    known = isinstance(kind, Global) and kind.name in _STORAGES
    require(known and isinstance(key, str) and isinstance(size, int) and size >= 0, f"a storage of {kind}")
    return _STORAGES[kind.name], key, size


def read_zip(path):
    """Reads the zip container of PyTorch 1.6 and newer; tensors are read from the file when asked for.

    Returns:
        tuple: The pickled object, and the model card that `write_zip` put beside it (None in files of others).
    """
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: begins like a zip file but is damaged or truncated ({error})") from None
    names = archive.namelist()
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"{path}: a zip file, but not one of PyTorch: it has no data.pkl")
    root = pickles[0].rpartition("/")[0]
    if f"{root}/constants.pkl" in names:
        raise ValueError(f"{path}: a TorchScript program, not weights; save the state_dict of the module instead")

    def read(name):
        entry = archive.getinfo(name)
        # PyTorch never compresses; a small file that unpacks to a huge one is refused with the same stroke.
        require(entry.compress_type == zipfile.ZIP_STORED, f"the compressed entry {name}")
        try:
            return archive.read(entry)
        except (zipfile.BadZipFile, EOFError) as error:
            raise ValueError(f"{path}: damaged or truncated ({error})") from None

    order = ">" if f"{root}/byteorder" in names and read(f"{root}/byteorder").strip() == b"big" else "<"
    storages = {}

    @functools.lru_cache(1)  # the one that neighbouring tensors may share
    def fetch(name, dtype):
        return _numbers(read(name), dtype, order)

    def load(identity):
        dtype, key, size = _storage_key(identity)
        if key not in storages:
            name = f"{root}/data/{key}"
            if name not in names:
                raise ValueError(f"{path}: damaged: the data of tensor {key} are missing")
            if archive.getinfo(name).file_size < size * _item_size(dtype):
                raise ValueError(f"{path}: damaged: the data of tensor {key} are too short")
            storages[key] = TorchStorage(dtype, size, lambda: fetch(name, dtype)[:size])
        return storages[key]

    names = set(names)
    content = read_pickle(io.BytesIO(read(pickles[0])), path, load)
    card = json.loads(read(f"{root}/{CARD_ENTRY}")) if f"{root}/{CARD_ENTRY}" in names else None
    return content, card


def read_legacy(path):
    """Reads the container of PyTorch before 1.6: pickles, one after another, then the bare bytes of the tensors."""
    storages, positions = {}, {}

    def load(identity):
        dtype, key, size = _storage_key(identity)
        require(len(identity) == 5 or identity[5] is None, "a view of a storage")
        if key not in storages:
            storages[key] = TorchStorage(dtype, size, lambda: _read_flat(path, positions[key], dtype, size))
        return storages[key]

    with open(path, "rb") as file:
        if read_pickle(file, path) != LEGACY_MAGIC:
            raise ValueError(f"{path}: not a PyTorch file")
        read_pickle(file, path)  # protocol version
        if not read_pickle(file, path).get("little_endian", True):
            raise ValueError(f"{path}: written on a big-endian machine; save it again with torch.save")
        content = read_pickle(file, path, load)
        order = read_pickle(file, path)
        end = os.path.getsize(path)
        for key in order:
            require(key in storages, "a storage that no tensor uses")
            positions[key] = file.tell() + 8  # behind the number of elements
            file.seek(positions[key] + storages[key].size * _item_size(storages[key].dtype))
            if file.tell() > end:
                raise ValueError(f"{path}: truncated: the data of tensor {key} are incomplete")
    return content


def _read_flat(path, position, dtype, size):
    with open(path, "rb") as file:
        file.seek(position)
        return _numbers(file.read(size * _item_size(dtype)), dtype)


def write_zip(path, content, card=None):
    """Writes nested dictionaries, lists, scalars and np.ndarrays as PyTorch's zip container.

    Args:
        path (str): File to write; `torch.load` reads it, also with `weights_only=True`.
        content (dict): What `torch.load` is to return; arrays come back as tensors.
        card (dict): Model card, put into the archive beside the tensors, where strict loading does not see it.
    """
    storages, program = [], [pickle.PROTO + b"\x02"]
    _emit(program, content, storages)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"".join([*program, pickle.STOP]))
        archive.writestr("archive/byteorder", "little")
        if card is not None:
            archive.writestr(f"archive/{CARD_ENTRY}", json.dumps(card, indent=2))
        for key, values in enumerate(storages):
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(values).data)
        archive.writestr("archive/version", "3\n")


def _emit(program, value, storages):
    """Appends the pickle instructions that rebuild `value`; arrays go to `storages` and are referred to."""

    def name(module, attribute):
        program.append(pickle.GLOBAL + f"{module}\n{attribute}\n".encode())

    def sequence(items, opcode):
        program.append(pickle.MARK)
        for item in items:
            _emit(program, item, storages)
        program.append(opcode)

    def ordered_dictionary():
        name("collections", "OrderedDict")
        program.append(pickle.EMPTY_TUPLE + pickle.REDUCE)

    if isinstance(value, np.ndarray):
        kind = next(kind for kind, dtype in _STORAGES.items() if dtype == value.dtype.name)
        name("torch._utils", "_rebuild_tensor_v2")
        program.append(pickle.MARK + pickle.MARK)
        _emit(program, "storage", storages)
        name("torch", kind)
        for item in (str(len(storages)), "cpu", value.size):
            _emit(program, item, storages)
        program.append(pickle.TUPLE + pickle.BINPERSID)
        steps = [math.prod(value.shape[axis + 1 :]) for axis in range(value.ndim)]
        for item in (0, value.shape, tuple(steps), False):
            _emit(program, item, storages)
        ordered_dictionary()
        program.append(pickle.TUPLE + pickle.REDUCE)
        storages.append(value)
    elif isinstance(value, dict):
        ordered_dictionary()
        sequence([item for entry in value.items() for item in entry], pickle.SETITEMS)
    elif isinstance(value, tuple):
        sequence(value, pickle.TUPLE)
    elif isinstance(value, list):
        sequence(value, pickle.LIST)
    elif value is None or isinstance(value, (bool, int, float, str)):
        program.append(pickle.dumps(value, 2)[2:-1])
    else:
        raise TypeError(f"a {type(value).__name__} is neither tensor, container nor scalar")
