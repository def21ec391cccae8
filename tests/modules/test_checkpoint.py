import os

import numpy as np
import pytest

import mindspore as ms
from mindspore import nn

from mindbyol import checkpoint
from mindbyol.model_card import Card

ARRAYS = {
    "online.backbone.conv1.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "target.backbone.conv1.weight": np.ones((2, 3), np.float32),
    "global_step": np.array([7], np.int32),
}


def test_what_is_written_is_read(tmp_path):
    checkpoint.write(tmp_path / "a.ckpt", ARRAYS, Card(model="resnet18", epoch=3))
    arrays, card = checkpoint.read(tmp_path / "a.ckpt")
    assert card == Card(model="resnet18", epoch=3) and arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


def test_the_online_backbone_and_not_the_target():
    backbone = checkpoint.online_backbone(dict(reversed(ARRAYS.items())))
    assert list(backbone) == ["conv1.weight"] and backbone["conv1.weight"].sum() == 15


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_truncated(tmp_path, kept):
    path = tmp_path / "a.ckpt"
    checkpoint.write(path, {"w": np.zeros((100, 100), np.float32)}, Card())
    data = path.read_bytes()
    path.write_bytes(data[: kept if kept in (0, 10) else int(kept * len(data))])
    with pytest.raises(ValueError, match="a.ckpt: (is truncated or not a MindSpore checkpoint|is damaged)"):
        checkpoint.read(path)


def test_one_changed_bit_is_noticed(tmp_path):
    path = tmp_path / "a.ckpt"
    checkpoint.write(path, {"w": np.ones((50, 50), np.float32)}, Card())
    data = bytearray(path.read_bytes())
    data[data.find(np.ones(50, np.float32).tobytes()) + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged: its contents do not match its digest"):
        checkpoint.read(path)


@pytest.mark.parametrize(
    "texts, arrays, lost",
    [
        ({"card": "{}"}, {"conv1.weight": 1}, "digest"),
        ({"digest": "0"}, {"conv1.weight": 1}, "model card"),
        ({}, {"online.backbone.conv1.weight": 1}, "model card and digest"),
    ],
)
def test_our_checkpoints_have_a_digest(tmp_path, texts, arrays, lost):
    path = tmp_path / "a.ckpt"
    entries = [{"name": name, "data": ms.Tensor(np.ones(3, np.float32))} for name in arrays]
    ms.save_checkpoint(entries, str(path), append_dict=texts)
    with pytest.raises(ValueError, match=f"a.ckpt: is damaged: .* whose {lost} is missing; copy it again"):
        checkpoint.read(path)


def test_checkpoints_of_others_have_none(tmp_path):
    ms.save_checkpoint([{"name": "conv1.weight", "data": ms.Tensor(np.ones(3, np.float32))}], str(tmp_path / "a.ckpt"))
    arrays, card = checkpoint.read(tmp_path / "a.ckpt")
    assert list(arrays) == ["conv1.weight"] and card == Card()


def test_nan_and_infinity_are_found():
    checkpoint.check_finite({**ARRAYS, "half": np.ones(2, np.float16)}, "a.ckpt")
    brain = ms.Tensor([1, np.nan], ms.bfloat16).asnumpy()
    with pytest.raises(ValueError, match=r"a.ckpt: brain holds 1 values .* \(1 of 4 parameters"):
        checkpoint.check_finite({**ARRAYS, "brain": brain}, "a.ckpt")
    spoilt = {**ARRAYS, "half": np.array([1, np.inf, np.nan], np.float16), "w": np.array(np.nan)}
    with pytest.raises(ValueError, match=r"a.ckpt: half holds 2 values .* \(2 of 5 parameters hold such\)"):
        checkpoint.check_finite(spoilt, "a.ckpt")


def test_not_a_checkpoint(tmp_path):
    (tmp_path / "a.ckpt").write_text("hello")
    with pytest.raises(ValueError, match="truncated or not a MindSpore checkpoint"):
        checkpoint.read(tmp_path / "a.ckpt")
    with pytest.raises(FileNotFoundError, match="b.ckpt: no such file"):
        checkpoint.read(tmp_path / "b.ckpt")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    checkpoint.write(path, ARRAYS, Card(epoch=1))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="cannot write checkpoint .*No space left"):
        checkpoint.write(path, ARRAYS, Card(epoch=2))
    assert checkpoint.read(path)[1] == Card(epoch=1) and os.listdir(tmp_path) == ["a.ckpt"]


def test_load_into_names_what_does_not_fit():
    cell = nn.Dense(3, 2)
    good = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, np.float32)}
    assert checkpoint.load_into(cell, good, "x") == 2 and cell.weight.asnumpy().sum() == 6
    for arrays, message in [
        ({"weight": good["weight"]}, r"1 of 2 parameters missing \(bias\)"),
        ({**good, "gamma": np.ones(1)}, r"1 unexpected \(gamma\)"),
        ({**good, "weight": np.zeros((3, 2))}, r"weight: \(3, 2\) in the file, \(2, 3\) in the network"),
    ]:
        with pytest.raises(ValueError, match=message):
            checkpoint.load_into(cell, arrays, "x")
    assert cell.weight.asnumpy().sum() == 6
