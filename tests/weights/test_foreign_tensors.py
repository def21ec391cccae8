"""Ways of storing tensors that real files use and that are easy to read wrongly, or not at all."""

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from foreign import legacy_around, zip_around
from test_pickle_safety import call, integers, name, storage, text

from mindbyol.weights import torch_files
from mindbyol.weights.files import open_weights, read_float32

FIXTURES = Path(__file__).parent / "fixtures"


def rebuilt(shape, stride, metadata=b"", **options):
    """A tensor over the storage 0, 1, 2, 3 with PyTorch's seventh argument, the marks beside it."""
    hooks = call("collections.OrderedDict")
    return call(
        "torch._utils._rebuild_tensor_v2",
        storage(**options),
        b"K\0",
        integers(*shape),
        integers(*stride),
        pickle.NEWFALSE,
        hooks,
        metadata,
    )


def state_dict(tensor, beside=b"N"):
    state = pickle.EMPTY_DICT + text("x") + tensor + pickle.SETITEM
    entries = text("state_dict") + state + text("hyper_parameters") + beside
    return b"\x80\x02" + pickle.EMPTY_DICT + pickle.MARK + entries + pickle.SETITEMS + pickle.STOP


def marks(*names):
    return pickle.EMPTY_DICT + b"".join(text(mark) + pickle.NEWTRUE + pickle.SETITEM for mark in names)


@pytest.mark.parametrize("write", [zip_around, legacy_around])
def test_sign_that_pytorch_stores_beside_a_tensor(tmp_path, write):
    """torch._neg_view(x) keeps the values of x and a mark; conj means nothing for real numbers."""
    path = tmp_path / "weights.pth"
    write(path, state_dict(rebuilt((4,), (1,), marks("neg"))))
    np.testing.assert_array_equal(open_weights(path).tensors["x"].read(), [0, -1, -2, -3])
    write(path, state_dict(rebuilt((4,), (1,), marks("conj"))))
    np.testing.assert_array_equal(open_weights(path).tensors["x"].read(), [0, 1, 2, 3])


def test_sign_of_truth_values_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    zip_around(path, state_dict(rebuilt((4,), (1,), marks("neg"), kind="torch.BoolStorage")))
    with pytest.raises(ValueError, match=f"{path}.*a negative 'bool'"):
        open_weights(path)


def test_expanded_tensors_are_read(tmp_path):
    path = tmp_path / "weights.pth"
    zip_around(path, state_dict(rebuilt((3, 4), (0, 1))))
    np.testing.assert_array_equal(open_weights(path).tensors["x"].read(), [[0, 1, 2, 3]] * 3)
    zip_around(path, state_dict(rebuilt((1000, 5), (0, 0))))
    np.testing.assert_array_equal(open_weights(path).tensors["x"].read(), np.zeros((1000, 5)))


def test_python_2_names_of_protocol_2(tmp_path):
    """OmegaConf keeps the types int and str beside its values; protocol 2 calls them long and unicode."""
    path = tmp_path / "weights.ckpt"
    node = call("omegaconf.nodes.AnyNode") + pickle.EMPTY_DICT + text("object_type") + name("__builtin__.long") + b"sb"
    other = pickle.EMPTY_DICT + text("type") + name("__builtin__.unicode") + pickle.SETITEM
    zip_around(path, state_dict(rebuilt((4,), (1,)), pickle.MARK + node + other + pickle.LIST))
    assert list(open_weights(path).tensors) == ["x"]


@pytest.mark.parametrize("function", ["__builtin__.long", "__builtin__.unicode", "__builtin__.file"])
def test_python_2_names_are_not_called(tmp_path, function):
    path = tmp_path / "weights.ckpt"
    zip_around(path, state_dict(rebuilt((4,), (1,)), call(function, text("5"))))
    with pytest.raises(ValueError, match="refused"):
        open_weights(path)


def test_classes_as_keys_as_lightning_had_them(tmp_path):
    path = tmp_path / "weights.ckpt"
    callbacks = pickle.EMPTY_DICT + name("pytorch_lightning.callbacks.ModelCheckpoint") + b"N" + pickle.SETITEM
    zip_around(path, state_dict(rebuilt((4,), (1,)), callbacks))
    assert list(open_weights(path).tensors) == ["x"]


def test_arrays_of_jax():
    """As jax 0.10 and dill write them (record_originals.py): the function names NumPy's array inside."""
    contents = open_weights(FIXTURES / "jax.bin")
    np.testing.assert_array_equal(
        contents.tensors["online_params/projector/linear/w"].read(), np.arange(6, dtype=np.float32).reshape(2, 3)
    )


def test_array_that_jax_wraps_around_another_function_is_refused(tmp_path):
    path = tmp_path / "weights.pkl"
    array = call("jax._src.array._reconstruct_array", name("jax._src.array.run"), pickle.EMPTY_TUPLE, b"N", b"N")
    path.write_bytes(b"\x80\x02" + pickle.EMPTY_DICT + text("x") + array + b"s.")
    with pytest.raises(ValueError, match=f"{path}.*an array made by jax._src.array.run"):
        open_weights(path)


def test_shared_storage_is_read_once(tmp_path, monkeypatch):
    """PyTorch before 1.6 gave all the parts of a flattened network one storage."""
    path = tmp_path / "weights.pth"
    parts = b"".join(text(f"x{i}") + rebuilt((2,), (1,)) + pickle.SETITEM for i in range(50))
    legacy_around(path, b"\x80\x02" + pickle.EMPTY_DICT + parts + pickle.STOP)
    reads = []
    numbers = torch_files.numbers
    monkeypatch.setattr(torch_files, "numbers", lambda *a: reads.append(1) or numbers(*a))
    tensors = open_weights(path).tensors
    assert len(tensors) == 50 and not reads
    for tensor in tensors.values():
        np.testing.assert_array_equal(tensor.read(), [0, 1])
    assert len(reads) == 1


def test_storage_of_two_types_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    both = rebuilt((4,), (1,)) + pickle.SETITEM + text("y") + rebuilt((4,), (1,), kind="torch.IntStorage")
    zip_around(path, b"\x80\x02" + pickle.EMPTY_DICT + text("x") + both + b"s.")
    with pytest.raises(ValueError, match="storage '0' as two types"):
        open_weights(path)


def bfloat16(array):
    """The upper halves of float32 numbers, and the numbers that they stand for."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32) & 0xFFFF0000
    return (bits >> 16).astype("<u2").tobytes(), bits.view(np.float32)


def write_safetensors(path, entries, padding=0):
    """Writes {name: (type, shape, bytes)} as the package does; `padding` blanks make the header longer."""
    header, data = {}, b""
    for key, (dtype, shape, raw) in entries.items():
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header) + " " * padding
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + data)


def test_bfloat16_safetensors_are_widened_exactly(tmp_path):
    path = tmp_path / "weights.safetensors"
    values = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    raw, expected = bfloat16(values)
    entries = {"b": ("BF16", [3, 5], raw), "f": ("F32", [2], np.float32([1, 2]).tobytes()), "s": ("F16", [], b"\0<")}
    write_safetensors(path, entries)
    tensors = open_weights(path).tensors
    assert (tensors["b"].dtype, tensors["b"].shape) == ("bfloat16", (3, 5))
    np.testing.assert_array_equal(read_float32(tensors["b"], "b"), expected.reshape(3, 5))
    np.testing.assert_array_equal(tensors["f"].read(), [1, 2])
    assert tensors["s"].read() == 1 and tensors["s"].shape == ()


@pytest.mark.parametrize("start", [b"\x80\x02", b"\x80\x04", b"<\x01", b"\x1f\x8b", b"PK"], ids=repr)
def test_length_of_a_safetensors_header_is_not_taken_for_another_format(tmp_path, start):
    path = tmp_path / "weights.safetensors"
    entries = {"x": ("F32", [1], np.float32([7]).tobytes())}
    write_safetensors(path, entries)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    write_safetensors(path, entries, int.from_bytes(start, "little") - length)
    assert path.read_bytes()[:2] == start
    assert open_weights(path).tensors["x"].read() == [7]
