"""Every family's layout, written by hand, gives every array back in its place, bit for bit."""

import foreign
import numpy as np
import pytest
from foreign import arrays_of
from safetensors.numpy import save_file

from mindbyol import checkpoint
from mindbyol.model_card import Card
from mindbyol.weights import read_weights
from mindbyol.weights.convert import convert
from mindbyol.weights.torch_files import write_zip


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
