"""PyTorch's files, as PyTorch itself wrote them (fixtures of record_originals.py), and as written here."""

from pathlib import Path

import numpy as np
import pytest

from mindbyol.model_card import Card
from mindbyol.weights.files import open_weights
from mindbyol.weights.torch_files import read_zip, write_zip

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("file", ["torch_zip.bin", "torch_legacy.bin"])
def test_every_kind_of_tensor_that_pytorch_writes(file):
    expected = np.load(FIXTURES / "torch_values.npz")
    contents = open_weights(FIXTURES / file)
    assert set(contents.tensors) == set(expected.files)
    for name, tensor in contents.tensors.items():
        found = tensor.read()
        assert found.shape == tensor.shape == expected[name].shape
        np.testing.assert_array_equal(found.astype(np.float32), expected[name], err_msg=name)
    assert contents.tensors["half"].dtype == "float16"
    assert contents.beside["epoch"] == 3


def test_dill_pickle_with_a_named_tuple_and_numpy_arrays():
    contents = open_weights(FIXTURES / "dill.bin")
    linear = contents.tensors["online_params/projector/linear/w"].read()
    np.testing.assert_array_equal(linear, np.arange(6, dtype=np.float32).reshape(2, 3))
    assert contents.tensors["online_state/projector/batch_norm/~/mean_ema/average"].shape == (1, 3)
    assert contents.beside["step"] == 300
    assert not any("opt_state" in name for name in contents.tensors)


def test_write_and_read_back(tmp_path):
    path = tmp_path / "weights.pth"
    state = {
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
        "scalar": np.array(5, np.int64),
        "empty": np.zeros((0, 3), np.float16),
        "truth": np.array([True, False]),
    }
    write_zip(path, {"state_dict": state, "meta": {"epoch": 3, "lr": [0.1, None]}}, {"model": "resnet18"})
    contents = open_weights(path)
    assert contents.container == "PyTorch zip"
    assert contents.beside["meta"] == {"epoch": 3}
    assert read_zip(path)[0]["meta"] == {"epoch": 3, "lr": [0.1, None]}
    assert contents.card == Card(model="resnet18")
    for name, array in state.items():
        found = contents.tensors[name].read()
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found, array)


def test_objects_cannot_be_written(tmp_path):
    with pytest.raises(TypeError, match="set"):
        write_zip(tmp_path / "weights.pth", {"x": {1, 2}})


@pytest.mark.parametrize("file", ["torch_zip.bin", "torch_legacy.bin", "dill.bin"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files_are_named(tmp_path, file, share):
    raw = (FIXTURES / file).read_bytes()
    path = tmp_path / "short.pth"
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(ValueError, match=str(path)):
        open_weights(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"PK\x03\x04 and no more", "damaged or truncated"),
        (b"\x80\x02]q\x00.", "a list, not a dictionary"),
        (b"\x80\x02}q\x00.", "no tensors"),
        (b"hello, this is no checkpoint at all", "not a MindSpore checkpoint"),
    ],
)
def test_other_files_are_told_apart(tmp_path, content, message):
    path = tmp_path / "weights.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        open_weights(path)


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match="a folder"):
        open_weights(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_weights(tmp_path / "none.pth")


def test_safetensors(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "weights.bin"
    save_file({"x": np.arange(4, dtype=np.float32).reshape(2, 2)}, path, {"card": '{"model": "resnet18"}'})
    contents = open_weights(path)
    assert (contents.container, contents.card) == ("safetensors", Card(model="resnet18"))
    np.testing.assert_array_equal(contents.tensors["x"].read(), [[0, 1], [2, 3]])
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="safetensors file is damaged or truncated"):
        open_weights(path)
