"""What does not fit is named, and nothing of it is loaded."""

import foreign
import numpy as np
import pytest
from foreign import arrays_of

from mindbyol.weights import read_weights
from mindbyol.weights.resnets import RESNETS, resnet_shapes
from mindbyol.weights.torch_files import write_zip

BIASED = dict(first_bias=True, last_bias=True)


@pytest.mark.parametrize("model", ["resnet18", "resnet50", "resnext50_32x4d"])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_shapes_are_those_of_the_network(model, stem):
    from mindbyol.backbones import create_backbone

    network = create_backbone(model, stem=stem, image_size=32)
    shapes, features = resnet_shapes(model, stem)
    assert shapes == {p.name: tuple(p.shape) for p in network.get_parameters()}
    assert features == network.num_features
    assert model in RESNETS


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
    with pytest.raises(ValueError, match=f"^{path}: [^\n]*not everything matches: [^\n]*--allow-unmatched, [^\n]*$"):
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
    with pytest.raises(ValueError, match=r"--from lightly: .* mmselfsup 1.x; set --from mmselfsup$"):
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
