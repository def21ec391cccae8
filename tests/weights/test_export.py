"""What is exported is read by others, gives the same features, and comes back bit for bit."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import foreign
import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor, nn

from mindbyol import checkpoint
from mindbyol.model_card import Card
from mindbyol.weights import Weights, networks, read_weights
from mindbyol.weights.convert import convert
from mindbyol.weights.describe import describe
from mindbyol.weights.export import FORMATS, export
from mindbyol.weights.files import open_weights
from mindbyol.weights.torch_files import write_zip

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_ONNX = [kind for kind in FORMATS if kind != "onnx"]
CARD = Card(
    model="resnet18",
    stem="imagenet",
    padding="torch",
    image_resize=64,
    mean=[1.0, 2.0, 3.0],
    std=[4.0, 5.0, 6.0],
    recipe="byol.yaml",
    epoch=3,
    step=77,
    data="8 images",
    more={"scores": {"knn20_top1": 64.2}},
)


@pytest.fixture(scope="module")
def arrays():
    return foreign.healthy()


def weights_of(arrays, padding="torch", model="resnet18"):
    return Weights(arrays, replace(CARD, padding=padding, model=model), "made here", [])


def write(arrays, folder, kind, padding="torch", heads=False):
    path = folder / f"exported{FORMATS[kind]}"
    return path, export(weights_of(arrays, padding), path, kind, heads)


@pytest.mark.parametrize("heads", [False, True], ids=["backbone", "heads"])
@pytest.mark.parametrize("kind", WITHOUT_ONNX)
def test_there_and_back_again(arrays, tmp_path, kind, heads):
    path, lines = write(arrays, tmp_path, kind, heads=heads)
    assert lines[0].startswith("check: ")
    convert(path, tmp_path / "back.ckpt")
    back = read_weights(tmp_path / "back.ckpt")
    prefixes = ("online.",) if heads else ("online.backbone.",)
    expected = {name: array for name, array in arrays.items() if name.startswith(prefixes)}
    assert back.arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(back.arrays[name], array, err_msg=name)
    kind = "byol" if heads else "backbone"  # of the file that it was converted to
    assert replace(back.card, input=None, mindbyol=None, mindspore=None, source=None) == replace(CARD, kind=kind)
    assert "0 to 255" in back.card.input
    assert sorted(os.listdir(tmp_path)) == sorted(["back.ckpt", path.name])
    assert os.stat(path).st_mode & 0o777 == 0o644


def test_mindcv_loads_it_and_gives_the_same_features(arrays, tmp_path):
    path, lines = write(arrays, tmp_path, "mindcv", padding="mindcv")
    assert "features in MindCV agree to" in lines[1]
    images = networks.sample_images(64)
    found = networks.forward(networks.load_in_mindcv("resnet18", path), images)
    own = networks.forward(networks.build(weights_of(arrays, "mindcv")), images)
    assert networks.relative_difference(found, own) < 1e-6


@pytest.mark.parametrize(
    "kind, padding, remedy",
    [
        ("mindcv", "torch", "model.max_pool = "),
        ("torchvision", "mindcv", "model.maxpool = "),
        ("torchvision", "same", "onnx"),
    ],
)
def test_another_padding_is_warned_of(arrays, tmp_path, kind, padding, remedy):
    _, lines = write(arrays, tmp_path, kind, padding=padding)
    assert lines[-1].startswith(f"WARNING: these weights belong to padding '{padding}'")
    assert remedy in lines[-1]


def test_the_remedy_for_mindcv_is_exact(arrays, tmp_path):
    path, lines = write(arrays, tmp_path, "mindcv", padding="torch")
    features = networks.load_in_mindcv("resnet18", path)
    exec(lines[-1].partition("exact features: ")[2], {"model": features.model, "nn": nn})
    images = networks.sample_images(64)
    own = networks.forward(networks.build(weights_of(arrays)), images)
    assert networks.relative_difference(networks.forward(features, images), own) < 1e-6


def test_torchvision_names_and_nothing_else(arrays, tmp_path):
    path, _ = write(arrays, tmp_path, "torchvision")
    expected = foreign.torch_names(foreign.part(arrays, "online.backbone."))
    tensors = open_weights(path).tensors
    assert {name: t.shape for name, t in tensors.items()} == {name: array.shape for name, array in expected.items()}
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("archive/extra/mindbyol.json"))["recipe"] == "byol.yaml"


def test_mindir_runs_with_any_batch_size(arrays, tmp_path):
    path, _ = write(arrays, tmp_path, "mindir", heads=True)
    loaded = nn.GraphCell(ms.load(str(path)))
    network = networks.build(weights_of(arrays), heads=True)
    for count in (1, 5):
        images = networks.sample_images(64, count)
        found = [output.asnumpy() for output in loaded(Tensor(images))]
        assert networks.relative_difference(found, networks.forward(network, images)) < 1e-5


def test_digests_are_equal_in_all_formats(arrays, tmp_path):
    def digests(path):
        return {line for line in describe(path) if "sha256" in line}

    expected = None
    for kind in ("mindcv", "safetensors", "mindir"):
        path, _ = write(arrays, tmp_path, kind)
        expected = expected or digests(path)
        assert digests(path) == expected and len(expected) == 1
    digest = checkpoint.digest(foreign.part(arrays, "online.backbone."))
    assert [line.split(maxsplit=1) for line in expected] == [["backbone:", f"11,176,512 parameters, sha256 {digest}"]]
    assert "card: scores.knn20_top1: 64.2" in describe(path)


def test_inspect_lists_what_does_not_match(arrays, tmp_path):
    path = tmp_path / "source.pth"
    state = foreign.torchvision(arrays)
    del state["bn1.weight"]
    write_zip(path, {**state, "fc.extra": np.zeros(3, np.float32)})
    lines = describe(path)
    assert "left out: missing: online.backbone.bn1.gamma" in lines
    assert "left out: unexpected: probe.extra (3,)" in lines


@pytest.mark.parametrize(
    "kind, name, heads, model, message",
    [
        ("mindcv", "out.pth", False, "resnet18", "must end in .ckpt"),
        ("keras", "out.h5", False, "resnet18", "--format keras: known are mindcv"),
        ("torchvision", "out.pth", False, "mobilenet_v2_100", "is no ResNet that torchvision has; use --format saf"),
        ("torchvision", "out.pth", False, "resnetv2_50", "is no ResNet"),
        ("torchvision", "out.pth", True, "resnet18", "--heads: made here, which has no projector"),
    ],
)
def test_what_cannot_be_exported(arrays, tmp_path, kind, name, heads, model, message):
    weights = weights_of({n: a for n, a in arrays.items() if n.startswith("online.backbone.")}, model=model)
    with pytest.raises(ValueError, match=message):
        export(weights, tmp_path / name, kind, heads)
    assert os.listdir(tmp_path) == []


def test_onnx_not_installed(arrays, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match="needs the package onnx; pip install -r requirements-export.txt"):
        write(arrays, tmp_path, "onnx")
    assert os.listdir(tmp_path) == []


class _CannotBeCompiled(nn.Cell):
    def construct(self, images):
        ms.get_context("mode")  # no graph can hold this
        return images.mean((2, 3))


@pytest.mark.parametrize("kind", ["mindir", "onnx"])
def test_a_failed_export_leaves_nothing(arrays, tmp_path, monkeypatch, kind):
    pytest.importorskip("onnx", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "build", lambda weights, heads=False: _CannotBeCompiled())
    with pytest.raises(ValueError, match=f"--format {kind}: MindSpore cannot export this network .*get_context"):
        export(weights_of(arrays), Path(f"out{FORMATS[kind]}"), kind)
    assert os.listdir(tmp_path) == [] and Path.cwd() == tmp_path


def test_a_failed_check_leaves_the_old_file(arrays, tmp_path, monkeypatch):
    path = tmp_path / "out.ckpt"
    path.write_text("before")
    monkeypatch.setattr(networks, "relative_difference", lambda found, expected: 1.0)
    with pytest.raises(ValueError, match="check: features in MindCV differ"):
        export(weights_of(arrays, "mindcv"), path, "mindcv")
    assert os.listdir(tmp_path) == ["out.ckpt"] and path.read_text() == "before"


def run(script, *arguments):
    done = subprocess.run([sys.executable, ROOT / "scripts" / script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_onnx(arrays, tmp_path):
    pytest.importorskip("onnx", exc_type=ImportError)
    onnxruntime = pytest.importorskip("onnxruntime", exc_type=ImportError)
    source = tmp_path / "byol.ckpt"
    checkpoint.write(source, arrays, replace(CARD, padding="same"))
    lines = run("export.py", source, "--format", "onnx", "--heads")  # a second ONNX export in one process fails
    path = tmp_path / "byol-onnx.onnx"
    assert lines[-1] == f"wrote {path}"
    session = onnxruntime.InferenceSession(str(path))
    images = networks.sample_images(64, 3)
    own = networks.forward(networks.build(weights_of(arrays, "same"), heads=True), images)
    assert networks.relative_difference(session.run(None, {"images": images}), own) < 1e-5
    back = read_weights(path)
    assert back.card.padding == "same" and back.card.step == 77
    for name, array in back.arrays.items():
        np.testing.assert_array_equal(array, arrays[name])


def test_commands(arrays, tmp_path):
    source = tmp_path / "byol.ckpt"
    checkpoint.write(source, arrays, CARD)
    lines = run("export.py", source, "--format", "safetensors")
    assert lines[0] == "mindbyol, full checkpoint, epoch 3"
    assert lines[-1] == f"wrote {tmp_path / 'byol-safetensors.safetensors'}"
    lines = run("inspect_checkpoint.py", tmp_path / "byol-safetensors.safetensors")
    assert "card: recipe: byol.yaml" in [" ".join(line.split()) for line in lines]
