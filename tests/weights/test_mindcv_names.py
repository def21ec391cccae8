"""Models whose parameters MindCV names otherwise than by their place: files go both ways under MindCV's names."""

import numpy as np
import pytest

import mindcv
import mindspore as ms

from mindbyol import checkpoint
from mindbyol.backbones import create_backbone
from mindbyol.config import parse_args
from mindbyol.model_card import Card
from mindbyol.pretraining import create_byol, read_start, start_from
from mindbyol.weights import read_weights
from mindbyol.weights.convert import convert
from mindbyol.weights.describe import describe
from mindbyol.weights.export import export
from mindbyol.weights.subject import open_subject

MODEL = "edgenext_xx_small"  # the smallest of them


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """MindCV's own checkpoint, classifier included, and its arrays."""
    path = tmp_path_factory.mktemp("mindcv") / "mindcv.ckpt"
    network = mindcv.create_model(MODEL, num_classes=10)
    ms.save_checkpoint(network, str(path))
    arrays = {p.name: p.asnumpy() for p in network.get_parameters()}
    return path, {name: array for name, array in arrays.items() if not name.startswith("head.")}


@pytest.fixture(scope="module")
def full(theirs, tmp_path_factory):
    """A full checkpoint as training writes it: named by place."""
    names = create_backbone(MODEL, image_size=64).mindcv_names
    assert len(names) > 100
    arrays = checkpoint.from_mindcv(theirs[1], names)
    path = tmp_path_factory.mktemp("full") / "full.ckpt"
    both = {f"{part}.backbone.{name}": array for part in ("target", "online") for name, array in arrays.items()}
    checkpoint.write(path, both, Card(model=MODEL, kind="byol", image_resize=64, mindbyol="0"))
    return path, arrays


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_ours_is_read_inspected_and_exported_with_mindcvs_names(theirs, full, tmp_path):
    weights = read_weights(full[0])
    assert_equal(weights.part("online.backbone."), full[1])
    assert "backbone 158/158 loaded, 0 missing, 0 unexpected" in describe(full[0])
    lines = export(weights, tmp_path / "out.ckpt", "mindcv")
    assert "features in MindCV agree to" in lines[1]
    assert_equal(checkpoint.read(tmp_path / "out.ckpt")[0], theirs[1])
    assert_equal(read_weights(tmp_path / "out.ckpt").part("online.backbone."), full[1])


def test_mindcvs_is_converted_and_its_classifier_left_out(theirs, full, tmp_path):
    with pytest.raises(ValueError, match="name it with --model"):
        read_weights(theirs[0])
    lines = convert(theirs[0], tmp_path / "out.ckpt", model=MODEL)
    assert "the classifier is left out: head.weight, head.bias" in lines
    assert_equal(checkpoint.read(tmp_path / "out.ckpt")[0], theirs[1])
    assert_equal(read_weights(tmp_path / "out.ckpt").part("online.backbone."), full[1])


def test_training_starts_from_either_and_scoring_reads_either(theirs, full):
    network = create_byol(parse_args(["--model", MODEL, "--image_resize", "64", "--projector_hidden_size", "8"]))
    for path in (theirs[0], full[0]):
        for parameter in network.get_parameters():
            parameter.set_data(ms.Tensor(np.zeros(parameter.shape, np.float32)))
        start_from(network, read_start(parse_args(["--model", MODEL, "--ckpt_path", str(path)])).arrays, path)
        for encoder in (network.online, network.target):
            found = {p.name.partition(".backbone.")[2]: p.asnumpy() for p in encoder.backbone.get_parameters()}
            assert_equal(found, full[1])
        backbone = open_subject(path, MODEL, image_size=64).backbone
        assert_equal({p.name: p.asnumpy() for p in backbone.get_parameters()}, full[1])


def test_weights_that_are_not_finite_start_nothing(full, tmp_path):
    arrays = {f"online.backbone.{name}": array for name, array in full[1].items()}
    name = sorted(arrays)[0]
    checkpoint.write(tmp_path / "nan.ckpt", {**arrays, name: np.full_like(arrays[name], np.nan)}, Card(model=MODEL))
    for flag in ("--ckpt_path", "--pretrained_from"):
        with pytest.raises(ValueError, match=f"nan.ckpt: {name} holds .* values that are NaN or infinite"):
            read_start(parse_args(["--model", MODEL, flag, str(tmp_path / "nan.ckpt")]))
