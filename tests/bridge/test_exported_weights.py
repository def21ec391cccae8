"""What loads our export into networks of others: whole or not at all, and padded as it was trained."""

import importlib.util
import json
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
WITH_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@pytest.fixture
def bridge(monkeypatch):
    """The module; where PyTorch is missing, as in CI, with names in its place, for what does not compute."""
    if importlib.util.find_spec("torch") is None:
        torch, nn = types.ModuleType("torch"), types.ModuleType("torch.nn")
        torch.nn, nn.Module, nn.functional = nn, object, None
        monkeypatch.setitem(sys.modules, "torch", torch)
        monkeypatch.setitem(sys.modules, "torch.nn", nn)
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "bridge"))
    monkeypatch.delitem(sys.modules, "exported_weights", raising=False)
    return importlib.import_module("exported_weights")


def test_the_padding_of_a_real_export_is_found(bridge, tmp_path):
    pytest.importorskip("mindspore", reason="MindSpore is not installed")
    from mindbyol.model_card import Card
    from mindbyol.weights.torch_files import write_zip

    card = {"model": "resnet18", "stem": "imagenet", "image_resize": 64, "mean": [1.0] * 3, "std": [2.0] * 3}
    path = tmp_path / "byol.pth"
    write_zip(path, {"conv1.weight": np.zeros((2, 2), np.float32)}, Card(padding="mindcv", **card).to_dict())
    bridge.check_padding(path, "mindcv")
    with pytest.raises(ValueError, match="BYOL_PADDING: torch, but .* 'mindcv'; set BYOL_PADDING=mindcv"):
        bridge.check_padding(path, "torch")


def test_padding_that_nobody_has_and_files_without_a_card(bridge, tmp_path):
    path = tmp_path / "byol.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    bridge.check_padding(path, "torch")  # of another project: nothing to compare with
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/extra/mindbyol.json", json.dumps({"padding": "same"}))
    with pytest.raises(ValueError, match="trained with 'same', which has no counterpart here"):
        bridge.check_padding(path, "torch")
    path.write_bytes(b"older than zip files")
    bridge.check_padding(path, "torch")


@WITH_TORCH
def test_the_max_pool_is_the_one_of_mindcv(bridge):
    """Windows of 3, stride 2: an odd side is padded on both ends, an even one at the end alone."""
    import torch

    row = torch.tensor([9.0, 1, 2, 3, 8, 4])
    pool = bridge.PaddedMaxPool()
    assert pool(row[None, None, None, :].expand(1, 1, 6, 6))[0, 0, 0].tolist() == [9, 8, 8]
    assert pool(row[None, None, None, :5].expand(1, 1, 5, 5))[0, 0, 0].tolist() == [9, 3, 8]
    tall = row[None, None, :, None].expand(1, 1, 6, 5)
    assert pool(tall)[0, 0, :, 0].tolist() == [9, 8, 8] and pool(tall).shape == (1, 1, 3, 3)


@WITH_TORCH
def test_a_file_is_taken_whole_or_not_at_all(bridge, tmp_path):
    import torch

    parts = {"conv1": torch.nn.Conv2d(3, 4, 3, bias=False), "bn1": torch.nn.BatchNorm2d(4), "norm": torch.nn.Identity()}
    network = torch.nn.Sequential()
    for name, part in parts.items():
        network.add_module(name, part)
    weights = {name: torch.randn(value.shape) for name, value in network.state_dict().items()}
    weights["bn1.num_batches_tracked"] = torch.tensor(3)
    path = tmp_path / "byol.pth"
    torch.save({**weights, "layer4.0.conv1.weight": torch.zeros(1)}, path)
    bridge.load(network, path)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())

    network.add_module("norm", torch.nn.BatchNorm2d(4))
    bridge.load(network, path, fresh=("norm",))
    with pytest.raises(ValueError, match=r"5 of 11 entries are missing or of another shape, first norm\.weight"):
        bridge.load(network, path)
    torch.save({**weights, "conv1.weight": torch.zeros(4, 3, 7, 7)}, path)
    with pytest.raises(ValueError, match=r"1 of 6 entries .* first conv1\.weight"):
        bridge.load(network, path, fresh=("norm",))
    path.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="no weights file of PyTorch"):
        bridge.load(network, path)
    with pytest.raises(FileNotFoundError, match="none.pth is not there; write it with: python scripts/export.py"):
        bridge.load(network, tmp_path / "none.pth")


def test_unknown_padding(bridge):
    with pytest.raises(ValueError, match="BYOL_PADDING: 'same' is none of torch, mindcv"):
        bridge.Exact(checkpoint="byol.pth", padding="same")
