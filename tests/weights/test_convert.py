"""Every family's layout, written by hand, gives every array back in its place, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import foreign
import numpy as np
import pytest
from safetensors.numpy import save_file

from mindbyol import checkpoint
from mindbyol.model_card import Card
from mindbyol.weights import read_weights
from mindbyol.weights.convert import convert
from mindbyol.weights.resnets import RESNETS, resnet_shapes
from mindbyol.weights.torch_files import write_zip

ROOT = Path(__file__).resolve().parents[2]
_ARRAYS = {}


def arrays_of(**options):
    key = tuple(sorted(options.items()))
    if key not in _ARRAYS:
        _ARRAYS[key] = foreign.make(**options)
    return _ARRAYS[key]


def without(arrays, *prefixes):
    return {name: array for name, array in arrays.items() if not name.startswith(prefixes)}


def torch_file(layout, content=None, **options):
    def write(path):
        arrays = arrays_of(**options)
        write_zip(path, (content or (lambda state: {"state_dict": state}))(layout(arrays)))
        return arrays

    return write


def write_deepmind(path):
    arrays = arrays_of()
    foreign.deepmind(arrays, path)
    return arrays


def write_mindcv(path):
    arrays = without(arrays_of(), "online.projector.", "predictor.", "target.")
    classifier = {f"classifier.{name}": array for name, array in foreign.part(arrays, "probe.").items()}
    checkpoint.write(path, {**foreign.part(arrays, "online.backbone."), **classifier}, Card())
    return arrays


def write_own(path):
    arrays = arrays_of()
    state = {f"moments.{name}": array for name, array in foreign.part(arrays, "predictor.").items()}
    checkpoint.write(path, {**arrays, **state, "global_step": np.ones(1, np.int32)}, Card(padding="same", step=77))
    return arrays


def write_safetensors(path):
    arrays = without(arrays_of(), "online.projector.", "predictor.", "target.")
    save_file(foreign.torchvision(arrays), path)
    return arrays


def lightning(state):
    return {"epoch": 99, "global_step": 1000, "state_dict": state, "hyper_parameters": {"lr": 0.1}}


def mm(epoch):
    return lambda state: {"meta": {"epoch": epoch, "cfg": "..."}, "state_dict": state}


BIASED = dict(first_bias=True, last_bias=True)
# family, suffix, writer, parts that the layout has not, what it is called, padding
FAMILIES = {
    "mmselfsup 1": (
        ".pth",
        torch_file(foreign.mmselfsup1, mm(200)),
        ["probe."],
        "mmselfsup 1.x, full checkpoint, epoch 200",
        "torch",
    ),
    "mmselfsup 0": (
        ".pth",
        torch_file(foreign.mmselfsup0, mm(300)),
        ["probe."],
        "mmselfsup 0.x, full checkpoint, epoch 300",
        "torch",
    ),
    "openselfsup": (
        ".pth",
        torch_file(foreign.mmselfsup0, mm(200), **BIASED),
        ["probe."],
        "mmselfsup 0.x, full",
        "torch",
    ),
    "mm linear": (
        ".pth",
        torch_file(foreign.mm_linear),
        ["online.p", "pred", "target."],
        "mmselfsup, linear evaluation",
        "torch",
    ),
    "mm linear 0": (
        ".pth",
        torch_file(lambda a: foreign.mm_linear(a, "head.fc_cls.")),
        ["online.p", "pred", "target."],
        "mmselfsup, linear evaluation",
        "torch",
    ),
    "mm extracted": (
        ".pth",
        torch_file(
            lambda a: foreign.torch_names(foreign.part(a, "online.backbone.")),
            lambda s: {"state_dict": s, "author": "me"},
        ),
        ["online.p", "pred", "target.", "probe."],
        "mmselfsup, extracted backbone, backbone",
        "torch",
    ),
    "lightly": (
        ".ckpt",
        torch_file(foreign.lightly, lightning, first_bias=False, last_bias=True),
        [],
        "lightly, full checkpoint, epoch 100",
        "torch",
    ),
    "lightly tutorial": (
        ".ckpt",
        torch_file(foreign.lightly_tutorial, lightning, first_bias=False, last_bias=True),
        ["probe."],
        "lightly, full checkpoint",
        "torch",
    ),
    "solo-learn": (
        ".ckpt",
        torch_file(foreign.solo_learn, lightning, **BIASED),
        [],
        "solo-learn, full checkpoint",
        "torch",
    ),
    "solo-learn old": (
        ".ckpt",
        torch_file(lambda a: foreign.solo_learn(a, "encoder"), lightning, **BIASED),
        [],
        "solo-learn, full checkpoint",
        "torch",
    ),
    "torchvision": (
        ".pth",
        torch_file(foreign.torchvision, lambda s: s),
        ["online.p", "pred", "target."],
        "torchvision",
        "torch",
    ),
    "data parallel": (
        ".pth",
        torch_file(foreign.torchvision, lambda s: {f"module.{name}": array for name, array in s.items()}),
        ["online.p", "pred", "target."],
        "torchvision",
        "torch",
    ),
    "compiled": (
        ".pth",
        torch_file(foreign.torchvision, lambda s: {f"module._orig_mod.{name}": array for name, array in s.items()}),
        ["online.p", "pred", "target."],
        "torchvision",
        "torch",
    ),
    "compiled parts": (
        ".ckpt",
        torch_file(
            lambda a: {name.replace("backbone.", "backbone._orig_mod."): v for name, v in foreign.lightly(a).items()},
            lightning,
            first_bias=False,
            last_bias=True,
        ),
        [],
        "lightly, full checkpoint, epoch 100",
        "torch",
    ),
    "resnext": (
        ".pth",
        torch_file(foreign.torchvision, model="resnext50_32x4d"),
        ["online.p", "pred", "target."],
        "torchvision",
        "torch",
    ),
    "deepmind": (".pkl", write_deepmind, [], "DeepMind, full checkpoint, step 1234", "same"),
    "mindcv": (".ckpt", write_mindcv, ["online.p", "pred", "target."], "MindCV, backbone and probe", "mindcv"),
    "mindbyol": (".ckpt", write_own, [], "mindbyol, full checkpoint, step 77", "same"),
    "safetensors": (".safetensors", write_safetensors, ["online.p", "pred", "target."], "torchvision", "torch"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_layout(family, tmp_path):
    suffix, write, absent, found, padding = FAMILIES[family]
    source, output = tmp_path / f"source{suffix}", tmp_path / "converted.ckpt"
    expected = without(write(source), *absent) if absent else write(source)
    lines = convert(source, output)
    weights = read_weights(output)
    assert lines[0].startswith(f"found {found}")
    count = len(foreign.part(expected, "online.backbone."))
    assert f"backbone {count}/{count} loaded, 0 missing, 0 unexpected" in lines[1]
    assert weights.card.padding == padding
    for name, array in expected.items():
        np.testing.assert_array_equal(weights.arrays[name], array, err_msg=name)
    added = weights.arrays.keys() - expected.keys()
    assert all(name.endswith("fc0.bias") and not weights.arrays[name].any() for name in added)
    assert ("not in the file" in " ".join(lines)) == bool(absent)


def test_backbone_alone_is_written_with_mindcv_names(tmp_path):
    source, output = tmp_path / "source.pth", tmp_path / "converted.ckpt"
    write_zip(source, foreign.torch_names(foreign.part(arrays_of(), "online.backbone.")))
    convert(source, output)
    arrays, card = checkpoint.read(output)
    assert set(arrays) == set(foreign.part(arrays_of(), "online.backbone."))
    assert (card.model, card.stem, card.padding) == ("resnet18", "imagenet", "torch")
    assert card.mean == [123.675, 116.28, 103.53]


@pytest.mark.parametrize("model", ["resnet18", "resnet50", "resnext50_32x4d"])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_shapes_are_those_of_the_network(model, stem):
    from mindbyol.backbones import create_backbone

    network = create_backbone(model, stem=stem, image_size=32)
    shapes, features = resnet_shapes(model, stem)
    assert shapes == {p.name: tuple(p.shape) for p in network.get_parameters()}
    assert features == network.num_features
    assert model in RESNETS


def test_stem_for_small_images_is_recognised(tmp_path):
    source = tmp_path / "source.pth"
    write_zip(source, foreign.torchvision(arrays_of(stem="small")))
    assert read_weights(source).card.stem == "small"


def test_padding_can_be_named(tmp_path):
    source = tmp_path / "source.pth"
    write_zip(source, foreign.torchvision(arrays_of()))
    assert read_weights(source, padding="same").card.padding == "same"


# ---- what does not fit -------------------------------------------------------------------------------------------


def write_state(path, change):
    state = foreign.mmselfsup1(arrays_of())
    change(state)
    write_zip(path, {"state_dict": state})


def misshape(state):
    state["backbone.layer1.0.conv1.weight"] = np.zeros((64, 64, 1, 1), np.float32)


@pytest.mark.parametrize(
    "change, messages",
    [
        (
            lambda state: state.pop("backbone.bn1.running_var"),
            ["backbone 99/100 loaded, 1 missing, 0 unexpected", "missing: online.backbone.bn1.moving_variance"],
        ),
        (
            lambda state: state.update({"backbone.extra.weight": np.zeros(3, np.float32)}),
            ["backbone 100/100 loaded, 0 missing, 1 unexpected", r"online.backbone.extra.weight \(3,\)"],
        ),
        (lambda state: state.update({"stray.weight": np.zeros(3, np.float32)}), ["unexpected: stray.weight"]),
        (
            misshape,
            [r"layer1.0.conv1.weight is \(64, 64, 1, 1\) in the file, \(64, 64, 3, 3\) in the network", "1 misshapen"],
        ),
        (lambda state: state.pop("neck.fc1.weight"), ["missing: online.projector.fc1.weight"]),
        (
            lambda state: state.update({"neck.fc0.weight": np.zeros((24, 2048), np.float32)}),
            [r"online.projector.fc0.weight is \(24, 2048\) in the file, \(24, 512\) in the network"],
        ),
        (lambda state: state.pop("target_net.module.0.conv1.weight"), ["missing: target.backbone.conv1.weight"]),
    ],
)
def test_what_does_not_match_is_named(tmp_path, change, messages):
    path = tmp_path / "source.pth"
    write_state(path, change)
    for message in messages:
        with pytest.raises(ValueError, match=message):
            read_weights(path)
    weights = read_weights(path, allow_unmatched=True)
    assert any(line.startswith("left out: ") for line in weights.report)


def test_nan_weights_are_named(tmp_path):
    path = tmp_path / "source.pth"
    spoilt = np.zeros(64, np.float32)
    spoilt[3] = np.nan
    write_state(path, lambda state: state.update({"backbone.bn1.weight": spoilt}))
    with pytest.raises(
        ValueError, match="source.pth: online.backbone.bn1.gamma holds 1 values that are NaN or infinite"
    ):
        read_weights(path)


def test_online_and_its_duplicate_must_be_equal(tmp_path):
    path = tmp_path / "source.pth"
    state = foreign.mmselfsup0(arrays_of())
    state["backbone.conv1.weight"] = state["target_net.0.conv1.weight"]
    write_zip(path, {"state_dict": state})
    with pytest.raises(ValueError, match="backbone.conv1.weight and online_net.0.conv1.weight .* differ"):
        read_weights(path)


def test_wrong_family_named(tmp_path):
    path = tmp_path / "source.pth"
    write_state(path, lambda state: None)
    assert read_weights(path, family="mmselfsup")
    with pytest.raises(ValueError, match=r"--from lightly: .* mmselfsup 1.x \(--from mmselfsup\)"):
        read_weights(path, family="lightly")
    with pytest.raises(ValueError, match="--from moco: known are auto, mindbyol"):
        read_weights(path, family="moco")


@pytest.mark.parametrize(
    "state, message",
    [
        ({"layers.0.weight": np.zeros(3, np.float32)}, "none of .* names its weights like this: layers.0.weight"),
        (
            {"conv1.weight": np.zeros(3, np.float32), "bn1.running_mean": np.zeros(3, np.float32)},
            "no ResNet or ResNeXt",
        ),
    ],
)
def test_other_networks_are_told(tmp_path, state, message):
    path = tmp_path / "source.pth"
    write_zip(path, state)
    with pytest.raises(ValueError, match=message):
        read_weights(path)


def test_solo_learn_small_stem_is_not_exact(tmp_path):
    path = tmp_path / "source.ckpt"
    write_zip(path, {"state_dict": foreign.solo_learn(arrays_of(stem="small", **BIASED))})
    with pytest.raises(ValueError, match="pads the first convolution for small images by 2"):
        read_weights(path)
    assert read_weights(path, allow_unmatched=True).card.stem == "small"


def test_two_names_for_one_parameter(tmp_path):
    path = tmp_path / "source.pth"
    write_state(path, lambda state: state.update({"_orig_mod.backbone.bn1.weight": np.zeros(64, np.float32)}))
    with pytest.raises(ValueError, match="_orig_mod.backbone.bn1.weight and backbone.bn1.weight are two entries"):
        read_weights(path)


@pytest.mark.parametrize("name", ["conv1.weight", "layer1.0.conv2.weight", "bn1.running_mean"])
def test_a_number_where_a_weight_should_be(tmp_path, name):
    path = tmp_path / "source.pth"
    write_zip(path, {**foreign.torchvision(arrays_of()), name: np.zeros((), np.float32)})
    with pytest.raises(ValueError, match=rf"^{path}: (.*no ResNet|torchvision[\s\S]*misshapen)"):
        read_weights(path)


SCRIPT = {"arch": "resnet18", "optimizer": {}}


@pytest.mark.parametrize(
    "beside, key, epoch",
    [
        pytest.param({"epoch": 99, "global_step": 5}, "state_dict", 100, id="Lightning counts from 0"),
        pytest.param({"epoch": 99, "pytorch-lightning_version": "2.0"}, "state_dict", 100, id="Lightning's version"),
        pytest.param({"meta": {"epoch": 200}, "epoch": 3}, "state_dict", 200, id="mmengine counts finished epochs"),
        pytest.param({"epoch": 200, **SCRIPT}, "state_dict", 200, id="MoCo and SimSiam count finished epochs"),
        pytest.param({"epoch": 99, "version": 2, **SCRIPT}, "state_dict", 100, id="timm counts from 0"),
        pytest.param({"epoch": 99, "args": None}, "model", 100, id="torchvision's scripts count from 0"),
        pytest.param({"epoch": 10**12}, "state_dict", None, id="no epoch"),
        pytest.param({"epoch": True}, "state_dict", None, id="no number"),
    ],
)
def test_epochs_that_were_finished(tmp_path, beside, key, epoch):
    path = tmp_path / "source.pth"
    write_zip(path, {**beside, key: foreign.torchvision(arrays_of())})
    weights = read_weights(path)
    assert weights.card.epoch == epoch
    assert weights.found == "torchvision, backbone and probe" + (f", epoch {epoch}" if epoch else "")


# ---- the command -------------------------------------------------------------------------------------------------


def run(*arguments, **options):
    command = [sys.executable, ROOT / "scripts" / "convert_checkpoint.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_command(tmp_path):
    source, output = tmp_path / "epoch_200.pth", tmp_path / "byol.ckpt"
    write_zip(source, mm(200)(foreign.mmselfsup1(arrays_of())))
    done = run(source, "-o", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "found mmselfsup 1.x, full checkpoint, epoch 200"
    assert "target backbone 100/100 loaded" in done.stdout
    assert done.stdout.splitlines()[-1] == f"wrote {output} (resnet18, stem imagenet, padding torch)"
    assert sorted(os.listdir(tmp_path)) == ["byol.ckpt", "epoch_200.pth"]


def test_command_says_errors_in_one_line(tmp_path):
    source = tmp_path / "source.pth"
    source.write_bytes(b"")
    done = run(source, "-o", tmp_path / "out.ckpt")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {source}: the file is empty\n"


@pytest.mark.parametrize(
    "output, message",
    [
        ("", "a folder; name the file to write"),
        ("out.pth", "must end in .ckpt"),
        ("none/out.ckpt", "does not exist"),
    ],
)
def test_output_is_checked_first(tmp_path, output, message):
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "not even looked at.pth", tmp_path / output)


def test_no_permission_to_write(tmp_path, monkeypatch):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write anywhere: ask as another user would
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    with pytest.raises(ValueError, match="no permission to write in .*closed"):
        convert(tmp_path / "source.pth", folder / "out.ckpt")
