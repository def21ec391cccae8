"""What the names in a checkpoint's pickle mean: a closed table of tensors, containers and scalars.

- `REBUILT`: the handful of names with which PyTorch, NumPy and dill describe arrays and containers.
- `INERT`: packages of known training code. Their objects (hyper-parameters, log buffers, configurations) lie beside the
  weights in real files; they become an `Opaque` that remembers only its name, and what is done to it is ignored.
- Every other name is refused, wherever in the file it stands.
"""

import functools
import re
from dataclasses import dataclass

from mindbyol.weights.tensors import DType, NumpyArray, checked_sizes, numpy_frombuffer, numpy_scalar, torch_tensor
from mindbyol.weights.untrusted import Global, Opaque, is_scalar, require

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
_LONGEST_NAME = 300
_MOST_ARGUMENTS = 100


@dataclass(frozen=True, eq=False)
class NamedFields:
    """A namedtuple class that was pickled by value; its instances are read as dictionaries."""

    fields: tuple


def _torch_typed(rebuild, _kind, arguments, _state):
    known = isinstance(rebuild, Global) and rebuild.module == "torch._utils" and str(rebuild) in REBUILT
    require(known, "{}", rebuild)
    return instance(rebuild, arguments)


def _wrapped_array(rebuild, _arguments, state, _attributes=None):
    # dill and jax name the function that makes NumPy's empty array, its arguments, and then the values.
    require(rebuild == Global("numpy.core.multiarray", "_reconstruct"), "an array made by {}", rebuild)
    array = NumpyArray()
    array.set_state(state)
    return array


def _dill_named_tuple(_name, fields, *_):
    known = isinstance(fields, (list, tuple)) and all(isinstance(f, str) and is_scalar(f) for f in fields)
    require(known, "a named tuple without names")
    return NamedFields(tuple(fields))


def _encode(text, encoding="utf-8"):
    known = isinstance(text, str) and encoding in ("latin1", "latin-1", "utf-8")
    require(known, "_codecs.encode with {}", encoding)
    return text.encode(encoding)


def keys(items):
    """Returns what is to become keys of a dictionary or members of a set.

    Anything deep would have to be walked through to be hashed, and what hashes alike on purpose takes hours.
    """
    for item in items:
        require(is_scalar(item), "{} as a key; only short texts, numbers, bytes and None are", item)
    return items


def _dictionary(items=()):
    if isinstance(items, dict):
        return dict(items)
    require(isinstance(items, (list, tuple)), "a dictionary without its entries")
    require(all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in items), "a dictionary without pairs")
    return dict(zip(keys([key for key, _ in items]), [value for _, value in items]))


def _default_dictionary(_factory=None, items=()):
    return _dictionary(items)


def _members(items=()):
    require(isinstance(items, (list, tuple, set, frozenset)), "a set without its members")
    return keys(items)


def _bytearray(data=b""):
    require(isinstance(data, bytes), "a bytearray of something else than bytes")
    return bytearray(data)


def _attribute(owner, name):
    # mmengine's log buffers are pickled as getattr(HistoryBuffer, "mean"); nothing is looked up here.
    known = isinstance(owner, (Global, Opaque)) and isinstance(name, str)
    require(known and len(name) + len(str(owner)) < _LONGEST_NAME, "builtins.getattr")
    return Opaque(f"{owner}.{name}")


REBUILT = {
    "builtins.getattr": _attribute,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": _default_dictionary,
    "torch._utils._rebuild_tensor": torch_tensor,
    "torch._utils._rebuild_tensor_v2": torch_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": _torch_typed,
    "torch.Size": checked_sizes,
    "numpy.core.multiarray._reconstruct": lambda *_: NumpyArray(),
    "numpy.core.multiarray.scalar": numpy_scalar,
    "numpy.core.numeric._frombuffer": numpy_frombuffer,
    "numpy.dtype": lambda code, *_: DType(code),
    "_codecs.encode": _encode,
    "builtins.set": lambda items=(): set(_members(items)),
    "builtins.frozenset": lambda items=(): frozenset(_members(items)),
    "builtins.bytearray": _bytearray,
    "builtins.complex": lambda real=0, imag=0: complex(real, imag),
    "dill._dill._create_array": _wrapped_array,
    "dill._dill._create_namedtuple": _dill_named_tuple,
    "haiku._src.data_structures.FlatMapping": _dictionary,
    "haiku._src.data_structures.to_immutable_dict": _dictionary,
    "jax._src.array._reconstruct_array": _wrapped_array,
    "jax._src.device_array.reconstruct_device_array": _wrapped_array,
}
_NAME_ONLY = {"numpy.ndarray", "copyreg._reconstructor"}
_TORCH_TYPE = re.compile(r"torch\.(\w+Storage|storage\.UntypedStorage|u?int\d+|b?float\d+|complex\d+|bool)")
_INERT = re.compile(rf"({'|'.join(map(re.escape, INERT))})(\..*)?", re.DOTALL)
_PYTHON_2 = {"long": "int", "unicode": "str"}  # protocol 2 calls Python's classes by the names they had then


@functools.lru_cache(1024)
def resolve(module, name):
    """Returns the `Global` of a name that may stand in a checkpoint; raises `Refused` for any other."""
    length = len(module) + len(name)
    require(length < _LONGEST_NAME and (module + name).isprintable(), "the name {} of {} characters", name, length)
    if module == "__builtin__":
        module, name = "builtins", _PYTHON_2.get(name, name)
    module = {"copy_reg": "copyreg", "dill.dill": "dill._dill"}.get(module, module)
    module = re.sub(r"^numpy\._core\b", "numpy.core", module)
    found = Global(module, name)
    full = str(found)
    known = full in REBUILT or full in _NAME_ONLY or _TORCH_TYPE.fullmatch(full) or _INERT.fullmatch(full)
    known = known or (module == "builtins" and name in INERT_BUILTINS)
    require(known, "{}", found)
    return found


def instance(made_of, arguments):
    """What a REDUCE, NEWOBJ, OBJ or INST of `made_of` leaves on the stack."""
    require(isinstance(arguments, tuple), "a call without arguments")
    if isinstance(made_of, Opaque):  # a bound method or a class of another library, called
        return made_of
    if isinstance(made_of, NamedFields):
        return dict(zip(made_of.fields, arguments))
    require(isinstance(made_of, Global), "a call of {}", made_of)
    name = str(made_of)
    if name in REBUILT:
        require(len(arguments) <= _MOST_ARGUMENTS, "a call of {} with {} arguments", made_of, len(arguments))
        return REBUILT[name](*arguments)
    if name == "copyreg._reconstructor":
        require(arguments and isinstance(arguments[0], (Global, Opaque)), "a call of {}", made_of)
        return Opaque(str(arguments[0]))
    require(made_of.module != "builtins", "a call of {}", made_of)
    return Opaque(name)
