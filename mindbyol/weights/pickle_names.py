"""What the names in a checkpoint's pickle mean: a closed table of tensors, containers and scalars.

- `REBUILT`: the handful of names with which PyTorch, NumPy and dill describe arrays and containers.
- `INERT`: packages of known training code. Their objects (hyper-parameters, log buffers, configurations) lie beside the
  weights in real files; they become an `Opaque` that remembers only its name, and what is done to it is ignored.
- Every other name is refused, wherever in the file it stands.
"""

import math
import re
from dataclasses import dataclass
from typing import Callable

import numpy as np

INERT = (
    # where published training checkpoints come from
    "lightly lightning lightning_fabric lightning_utilities pytorch_lightning torchmetrics omegaconf solo torch.optim "
    "mmengine mmcv mmcls mmselfsup mmpretrain mmdet mmseg openselfsup addict yapf byol haiku optax jax jaxlib acme "
    # harmless names of the standard library and of PyTorch that sit in hyper-parameters and in optimizer state
    "argparse.Namespace pathlib.PosixPath pathlib.PurePosixPath pathlib.WindowsPath typing.Any typing.Union "
    "datetime.datetime datetime.timedelta torch.device torch.torch_version.TorchVersion torch.Tensor "
    "torch.nn.parameter.Parameter collections.Counter collections.deque"
).split()
INERT_BUILTINS = {"list", "dict", "tuple", "int", "float", "str", "bool", "bytes", "object"}


class Refused(ValueError):
    """The pickle names something that is no tensor, container or scalar."""


@dataclass(frozen=True)
class Global:
    """A name that the pickle refers to; it stays a name."""

    module: str
    name: str

    def __str__(self):
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, eq=False)
class Opaque:
    """Stands for an object of another library; only its name is known."""

    name: str

    def __str__(self):
        return self.name


@dataclass(frozen=True, eq=False)
class NamedFields:
    """A namedtuple class that was pickled by value; its instances are read as dictionaries."""

    fields: tuple


@dataclass(frozen=True, eq=False)
class TorchStorage:
    """The flat memory behind PyTorch tensors: `read()` gives a one-dimensional array of `size` elements."""

    dtype: str
    size: int
    read: Callable[[], np.ndarray]


@dataclass(eq=False)
class Tensor:
    """An array that is read only when asked for, so that optimizer state costs nothing."""

    shape: tuple
    dtype: str
    load: Callable[[], np.ndarray]

    def read(self):
        """Returns the values as an np.ndarray of `shape`; bfloat16 is widened to float32."""
        return self.load()


def in_memory(array):
    """An array that has been read already, as a `Tensor`."""
    return Tensor(array.shape, array.dtype.name, lambda: array)


class NumpyArray(Tensor):
    """An ndarray under construction: NumPy pickles an empty one and then sets its state."""

    def __init__(self):
        super().__init__((0,), "uint8", lambda: np.empty(0, np.uint8))

    def set_state(self, state):
        _, shape, dtype, fortran, raw = state
        require(isinstance(dtype, DType) and isinstance(raw, (bytes, str)), "an array without plain numbers")
        self.fill(shape, dtype, "F" if fortran else "C", raw)

    def fill(self, shape, dtype, order, raw):
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        flat = np.frombuffer(raw, dtype.numpy())
        require(_size(shape) == flat.size, f"an array of shape {shape} with {flat.size} values")
        self.shape, self.dtype = tuple(shape), flat.dtype.name
        self.load = lambda: flat.reshape(shape, order=order)


class DType:
    """A NumPy dtype of plain numbers."""

    def __init__(self, code):
        require(isinstance(code, str) and re.fullmatch(r"[<>=|]?[biufc]\d{1,2}", code), f"the NumPy dtype {code!r}")
        self.code = code.lstrip("<>=|")
        self.order = code[0] if code[0] in "<>" else "="

    def set_state(self, state):
        require(len(state) >= 5 and state[1] in tuple("<>=|") and not any(state[2:5]), "a structured NumPy dtype")
        self.order = state[1]

    def numpy(self):
        return np.dtype(self.order + self.code)


def require(condition, what):
    if not condition:
        raise Refused(what)


def _size(shape):
    require(
        isinstance(shape, tuple) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape),
        f"the shape {shape!r}",
    )
    return math.prod(shape)


def _torch_tensor(storage, offset, shape, stride, *_):
    require(isinstance(storage, TorchStorage), "a tensor without a storage")
    size = _size(shape)
    _size(stride)
    # Expanded tensors (stride 0) could claim any size; checkpoints of networks have none.
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride)) if size else -1
    inside = isinstance(offset, int) and offset >= 0 and last < storage.size and size <= storage.size
    require(inside and len(shape) == len(stride), f"a tensor of shape {shape} that reaches outside its storage")

    def load():
        flat = storage.read()
        steps = [step * flat.itemsize for step in stride]
        # Bounds were checked above; the copy detaches the tensor from a storage that others share.
        return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps).copy()

    return Tensor(shape, storage.dtype, load)


def _torch_typed(rebuild, _kind, arguments, _state):
    require(isinstance(rebuild, Global) and str(rebuild) in REBUILT, f"{rebuild}")
    return REBUILT[str(rebuild)](*arguments)


def _numpy_frombuffer(raw, dtype, shape, order):
    require(isinstance(dtype, DType) and isinstance(raw, (bytes, bytearray)), "an array without plain numbers")
    array = NumpyArray()
    array.fill(shape, dtype, "F" if order == "F" else "C", bytes(raw))
    return array


def _numpy_scalar(dtype, raw=None):
    require(isinstance(dtype, DType) and isinstance(raw, (bytes, str)), "a NumPy scalar without plain numbers")
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, dtype.numpy(), 1)[0].item()


def _dill_array(rebuild, _arguments, state, _attributes=None):
    require(str(rebuild) == "numpy.core.multiarray._reconstruct", f"an array made by {rebuild}")
    array = NumpyArray()
    array.set_state(state)
    return array


def _encode(text, encoding="utf-8"):
    require(isinstance(text, str) and encoding in ("latin1", "latin-1", "utf-8"), f"_codecs.encode with {encoding!r}")
    return text.encode(encoding)


def _dictionary(items=()):
    return dict(items)


def _default_dictionary(_factory=None, items=()):
    return dict(items)


def _bytearray(data=b""):
    require(isinstance(data, bytes), "a bytearray of something else than bytes")
    return bytearray(data)


def _attribute(owner, name):
    # mmengine's log buffers are pickled as getattr(HistoryBuffer, "mean"); nothing is looked up here.
    require(isinstance(owner, (Global, Opaque)) and isinstance(name, str), "builtins.getattr")
    return Opaque(f"{owner}.{name}")


REBUILT = {
    "builtins.getattr": _attribute,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _default_dictionary,
    "torch._utils._rebuild_tensor": _torch_tensor,
    "torch._utils._rebuild_tensor_v2": _torch_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": _torch_typed,
    "torch.Size": lambda shape: tuple(shape),
    "numpy.core.multiarray._reconstruct": lambda *_: NumpyArray(),
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy.core.numeric._frombuffer": _numpy_frombuffer,
    "numpy.dtype": lambda code, *_: DType(code),
    "_codecs.encode": _encode,
    "builtins.set": lambda items=(): set(items),
    "builtins.frozenset": lambda items=(): frozenset(items),
    "builtins.bytearray": _bytearray,
    "builtins.complex": lambda real=0, imag=0: complex(real, imag),
    "dill._dill._create_array": _dill_array,
    "dill._dill._create_namedtuple": lambda _name, fields, *_: NamedFields(tuple(fields)),
    "haiku._src.data_structures.FlatMapping": _dictionary,
    "haiku._src.data_structures.to_immutable_dict": _dictionary,
}
_NAME_ONLY = {"numpy.ndarray"}
_TORCH_TYPE = re.compile(r"torch\.(\w+Storage|storage\.UntypedStorage|u?int\d+|b?float\d+|complex\d+|bool)")


def resolve(module, name):
    """Returns the `Global` of a name that may stand in a checkpoint; raises `Refused` for any other."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg", "dill.dill": "dill._dill"}.get(module, module)
    module = re.sub(r"^numpy\._core\b", "numpy.core", module)
    found = Global(module, name)
    full = str(found)
    known = full in REBUILT or full in _NAME_ONLY or _TORCH_TYPE.fullmatch(full)
    known = known or any(full == entry or full.startswith(entry + ".") for entry in INERT)
    known = known or (module == "builtins" and name in INERT_BUILTINS) or full == "copyreg._reconstructor"
    require(known, full)
    return found


def instance(made_of, arguments):
    """What a REDUCE, NEWOBJ, OBJ or INST of `made_of` leaves on the stack."""
    if isinstance(made_of, NamedFields):
        return dict(zip(made_of.fields, arguments))
    if isinstance(made_of, Opaque):  # a bound method or a class of another library, called
        return made_of
    require(isinstance(made_of, Global), f"a call of a {type(made_of).__name__}")
    name = str(made_of)
    if name in REBUILT:
        return REBUILT[name](*arguments)
    if name == "copyreg._reconstructor":
        return Opaque(str(arguments[0]))
    require(made_of.module != "builtins", f"a call of {name}")
    return Opaque(name)
