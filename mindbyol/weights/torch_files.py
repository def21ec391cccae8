"""PyTorch's files without PyTorch: reads `.pth` and Lightning's `.ckpt`, writes a `.pth` that `torch.load` takes."""

import functools
import io
import json
import math
import os
import pickle
import zipfile
from contextlib import contextmanager

import numpy as np

from mindbyol.weights.pickles import MAX_BYTES, read_pickle
from mindbyol.weights.tensors import TorchStorage, item_size, numbers
from mindbyol.weights.untrusted import Global, is_int, require, shown

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
_MAX_STORAGE = 2**32  # bytes; many tensors may share one
_MAX_CARD = 2**24
_PIECE = 2**24  # the most that is read from a zip file at once; with this the directory of 100,000 tensors


def _storage_of(identity, storages, reader):
    """The `TorchStorage` that a pickle refers to; `reader(dtype, key, size)` makes its function at the first time."""
    known = isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage"
    require(known and (len(identity) == 5 or identity[5] is None), "an unknown reference")
    _, kind, key, _location, size = identity[:5]
    require(isinstance(kind, Global) and kind.name in _STORAGES, "a storage of {}", kind)
    require(isinstance(key, str) and len(key) < 100, "a storage called {}", key)
    require(is_int(size) and size >= 0, "a storage of size {}", size)
    dtype = _STORAGES[kind.name]
    if key not in storages:
        storages[key] = TorchStorage(dtype, size, reader(dtype, key, size))
    same = (storages[key].dtype, storages[key].size) == (dtype, size)
    require(same, "the storage {} as two types or of two sizes", key)
    return storages[key]


class _Pieces(io.FileIO):
    """A file of which `zipfile` cannot read gigabytes at once, whatever the sizes in its directory say."""

    def read(self, size=-1):
        return super().read(min(size, _PIECE))

    def __del__(self):  # with the last tensor that could be read from it
        self.close()


@contextmanager
def _zip_errors(path):
    """What `zipfile` says of a file that it cannot read, as one line."""
    try:
        yield
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the zip file is damaged or truncated ({shown(error)})") from None
    except RuntimeError as error:  # also NotImplementedError
        raise ValueError(f"{path}: a zip file that torch.save has not written ({shown(error)})") from None


def read_zip(path):
    """Reads the zip container of PyTorch 1.6 and newer; tensors are read from the file when asked for.

    Returns:
        tuple: The pickled object, and the text of the model card that `write_zip` put beside it (None in files of
        others).

    Raises:
        ValueError: It is damaged, encrypted, compressed or no file of PyTorch, or its pickle is refused.
    """
    with _zip_errors(path):
        archive = zipfile.ZipFile(_Pieces(path))
        names = set(archive.namelist())
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"{path}: a zip file, but not one of PyTorch: it has no data.pkl")
    root = pickles[0].rpartition("/")[0]
    if f"{root}/constants.pkl" in names:
        raise ValueError(f"{path}: a TorchScript program, not weights; save the state_dict of the module instead")

    @contextmanager
    def entry(name, most):
        """Opens an entry of at most `most` bytes."""
        with _zip_errors(path):
            info = archive.getinfo(name)
            # PyTorch never compresses; a small file that unpacks to a huge one is refused with the same stroke.
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path}: the entry {shown(name)} is compressed, which torch.save never does")
            if info.flag_bits & 1:
                raise ValueError(
                    f"{path}: the zip file is encrypted; unpack it and save the weights without a password"
                )
            if info.file_size > most:
                raise ValueError(f"{path}: {shown(name)} has {info.file_size:,} bytes; at most {most:,} are read")
            with archive.open(info) as file:
                yield file

    def read(name, most):
        data = bytearray()
        with entry(name, most) as file:
            while piece := file.read(_PIECE):
                data += piece
        return memoryview(data)

    order = ">" if f"{root}/byteorder" in names and bytes(read(f"{root}/byteorder", 16)).strip() == b"big" else "<"

    @functools.lru_cache(1)  # the one that neighbouring tensors may share
    def fetch(name, dtype, size):
        return numbers(read(name, _MAX_STORAGE)[: size * item_size(dtype)], dtype, order)

    def reader(dtype, key, size):
        name = f"{root}/data/{key}"
        if name not in names:
            raise ValueError(f"the data of tensor {shown(key)} are missing")
        if archive.getinfo(name).file_size < size * item_size(dtype):
            raise ValueError(f"the data of tensor {shown(key)} are too short")
        return lambda: fetch(name, dtype, size)

    storages = {}
    with entry(pickles[0], MAX_BYTES) as file:
        buffered = io.BufferedReader(file)
        content = read_pickle(buffered, path, lambda identity: _storage_of(identity, storages, reader))
        while buffered.read(_PIECE):  # the checksum is compared at the end
            pass
    return content, bytes(read(f"{root}/{CARD_ENTRY}", _MAX_CARD)) if f"{root}/{CARD_ENTRY}" in names else None


def read_legacy(path):
    """Reads the container of PyTorch before 1.6: pickles, one after another, then the bare bytes of the tensors.

    Raises:
        ValueError: It is damaged or truncated, or one of its pickles is refused.
    """
    storages, positions = {}, {}

    @functools.lru_cache(1)  # the one that neighbouring tensors may share
    def fetch(key):
        size = storages[key].size * item_size(storages[key].dtype)
        if size > _MAX_STORAGE:
            raise ValueError(f"{path}: tensor {shown(key)} has {size:,} bytes; at most {_MAX_STORAGE:,} are read")
        with open(path, "rb") as file:
            file.seek(positions[key])
            return numbers(file.read(size), storages[key].dtype)

    def reader(_dtype, key, _size):
        return lambda: fetch(key)

    with open(path, "rb") as file:
        magic, _version, machine = (read_pickle(file, path) for _ in range(3))
        if magic != LEGACY_MAGIC or not isinstance(machine, dict):
            raise ValueError(f"{path}: the header of the PyTorch file is damaged")
        if not machine.get("little_endian", True):
            raise ValueError(f"{path}: written on a big-endian machine; save it again with torch.save")
        content = read_pickle(file, path, lambda identity: _storage_of(identity, storages, reader))
        order = read_pickle(file, path)
        if not isinstance(order, list) or not all(isinstance(key, str) for key in order):
            raise ValueError(f"{path}: damaged: the list of its tensors is no list of texts")
        if set(order) != set(storages):
            raise ValueError(f"{path}: damaged: its tensors and the list of them differ")
        end = os.path.getsize(path)
        for key in order:
            positions[key] = file.tell() + 8  # behind the number of elements
            after = positions[key] + storages[key].size * item_size(storages[key].dtype)
            if after > end:
                raise ValueError(f"{path}: truncated: the data of tensor {shown(key)} are incomplete")
            file.seek(after)
    return content


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
