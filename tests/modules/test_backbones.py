import numpy as np
import pytest

import mindcv
import mindspore as ms
from mindspore import Tensor

from mindbyol.backbones import create_backbone
from mindbyol.heads import MLP
from tests import reference


def forward(cell, x):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    return cell(Tensor(x)).asnumpy()


def test_resnet50_equals_the_reference():
    golden = reference.load("forward_r50.npz")
    config = reference.config(golden)
    seed = config["case_seed"]
    backbone = create_backbone("resnet50", padding="same").set_train(False)
    projector = MLP(2048, config["projector_hidden_size"], config["projector_output_size"]).set_train(False)
    predictor = MLP(config["projector_output_size"], config["predictor_hidden_size"], config["projector_output_size"])
    cells = {"backbone": backbone, "projector": projector, "predictor": predictor.set_train(False)}
    # A cell that stands alone calls its statistics "mean"; inside BYOL they are "moving_mean". Set them by attribute.
    filled = 0
    paths = [
        ("param", path, shape) for path, shape in zip(golden["param_paths"], reference.shapes(golden, "param_shapes"))
    ]
    paths += [
        ("state", path, shape) for path, shape in zip(golden["state_paths"], reference.shapes(golden, "state_shapes"))
    ]
    for kind, path, shape in paths:
        path = str(path)
        if path.startswith("classifier/"):
            continue
        if kind == "param":
            value = reference.fill_param(seed, "online", path, shape)
        else:
            value = reference.fill_bn_state(seed, path, shape)
        cell_name, attribute = reference.ours(path).rsplit(".", 1)
        cell_name, _, inner = cell_name.partition(".")
        cell = dict(cells[cell_name].cells_and_names())[inner]
        getattr(cell, attribute).set_data(Tensor(reference.to_ours(value)))
        filled += 1
    assert filled == len(paths) - 2

    images = reference.images(seed, "images", (2, 224, 224, 3)).transpose(0, 3, 1, 2)
    x = (images * 255 - reference.MEAN.reshape(1, 3, 1, 1)) / reference.STD.reshape(1, 3, 1, 1)
    embedding = forward(backbone, x)
    projection = forward(projector, embedding)
    prediction = forward(predictor, projection)
    for name, value in (("embedding", embedding), ("projection", projection), ("prediction", prediction)):
        expected = golden[f"f64/{name}"]
        error = np.abs(value - expected).max() / np.sqrt(np.mean(expected**2))
        assert error < 5e-5, (name, error)


def test_names_are_mindcvs():
    names = {p.name for p in create_backbone("resnet50").get_parameters()}
    theirs = {p.name for p in mindcv.create_model("resnet50").get_parameters()}
    assert theirs - names == {"classifier.weight", "classifier.bias"} and names < theirs


def test_parameters_are_named_by_their_place_and_mindcvs_names_are_known():
    backbone = create_backbone("edgenext_xx_small")
    parameters = dict(backbone.parameters_and_names())
    assert [p.name for p in parameters.values()] == list(parameters)
    theirs = {p.name for p in mindcv.create_model("edgenext_xx_small").get_parameters()}
    named = {backbone.mindcv_names.get(name, name) for name in parameters}
    assert theirs - named == {"head.weight", "head.bias"} and named < theirs
    assert create_backbone("resnet18", image_size=32).mindcv_names == {}


def test_a_classifier_with_two_names_is_left_out():
    backbone = create_backbone("squeezenet1_0", image_size=64)
    assert backbone.dropped == ["classifier", "final_conv"]
    assert all(p.name.startswith("features.") for p in backbone.get_parameters())


@pytest.mark.parametrize(
    "model, width",
    [
        ("resnet18", 512),
        ("mobilenet_v3_small_100", 576),
        ("swin_tiny", 768),
        ("vit_b_32_224", 768),
        ("ghostnet_100", 960),
    ],
)
def test_width_is_probed_for_maps_vectors_and_tokens(model, width):
    backbone = create_backbone(model)
    assert backbone.num_features == width
    assert forward(backbone.set_train(False), np.zeros((2, 3, 224, 224), np.float32)).shape == (2, width)


def test_features_are_the_mean_over_positions():
    model = mindcv.create_model("resnet18").set_train(False)
    backbone = create_backbone("resnet18").set_train(False)
    ms.load_param_into_net(backbone, model.parameters_dict())
    x = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    expected = model.forward_features(Tensor(x)).asnumpy().mean((2, 3))
    np.testing.assert_allclose(forward(backbone, x), expected, rtol=1e-5, atol=1e-6)


def test_small_stem_keeps_the_resolution():
    backbone = create_backbone("resnet18", stem="small", image_size=16).set_train(False)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    assert backbone.forward_features(Tensor(np.zeros((1, 3, 16, 16), np.float32))).shape == (1, 512, 2, 2)
    assert backbone.conv1.weight.shape == (64, 3, 3, 3) and backbone.conv1.weight.name == "conv1.weight"


def test_fewer_stages_end_sooner():
    backbone = create_backbone("resnet18", stages=2, image_size=32).set_train(False)
    names = {p.name for p in backbone.get_parameters()}
    assert backbone.num_features == 128 and not [name for name in names if name.startswith(("layer3", "layer4"))]
    assert backbone.dropped == ["classifier", "layer3", "layer4"]
    ms.set_context(mode=ms.PYNATIVE_MODE)
    assert backbone.forward_features(Tensor(np.zeros((1, 3, 32, 32), np.float32))).shape == (1, 128, 4, 4)


def test_torch_padding_is_a_zero_border_before_the_pool():
    theirs, ours = create_backbone("resnet18", padding="torch"), create_backbone("resnet18")
    x = np.random.default_rng(0).random((1, 4, 8, 8)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2]
    np.testing.assert_array_equal(forward(theirs.max_pool, x), windows.max((-2, -1)))
    assert not np.array_equal(forward(ours.max_pool, x), windows.max((-2, -1)))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(model="resnet5"), "no 'resnet5'; nearest: .*resnet50"),
        (dict(model="repvgg_a0"), "'repvgg_a0' cannot be used as a backbone: .* Among those that can: resnet18"),
        (dict(model="volo_d1"), "no forward_features"),
        (dict(model="hrnet_w32"), "several maps"),
        (dict(model="densenet121", image_size=16), "image_resize: 'densenet121' takes no images of 16 pixels"),
        (dict(model="resnet18", stem="tiny"), "stem: 'tiny' is none of imagenet, small"),
        (dict(model="squeezenet1_0", stem="small"), "stem: small is for MindCV's ResNets"),
        (dict(model="squeezenet1_0", padding="same"), "padding: same is for MindCV's ResNets"),
        (dict(model="squeezenet1_0", stages=2), "stages: 2 is for MindCV's ResNets"),
        (dict(model="resnet18", padding="zero"), "padding: 'zero' is none of mindcv, torch, same"),
    ],
)
def test_clear_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        create_backbone(**arguments)
