import numpy as np
import pytest

import mindcv
import mindspore as ms
from mindspore import Tensor, nn

from mindbyol.backbones import create_backbone
from mindbyol.heads import MLP
from mindbyol.training.cells import replace_cells
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


def noise(size):
    return np.random.default_rng(0).standard_normal((2, 3, size, size)).astype(np.float32)


def maps(backbone, images):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    return [array.asnumpy() for array in backbone.maps(Tensor(images))]


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "model, size, channels",
    [
        ("resnet18", 64, (64, 64, 128, 256, 512)),
        pytest.param("resnext50_32x4d", 64, (64, 256, 512, 1024, 2048), marks=slow),
        pytest.param("res2net50", 64, (64, 256, 512, 1024, 2048), marks=slow),
        pytest.param("resnest14", 64, (64, 256, 512, 1024, 2048), marks=slow),
        pytest.param("seresnet18", 64, (64, 64, 128, 256, 512), marks=slow),
        pytest.param("regnet_x_200mf", 64, (32, 24, 56, 152, 368), marks=slow),
        pytest.param("densenet121", 64, (64, 256, 512, 1024, 1024), marks=slow),
        pytest.param("poolformer_s12", 64, (64, 64, 128, 320, 512), marks=slow),
        ("mobilenet_v1_025", 64, (16, 32, 64, 128, 256)),
        ("mobilenet_v2_035_96", 64, (8, 8, 16, 32, 1280)),
        ("mobilenet_v3_small_100", 64, (16, 16, 24, 48, 576)),
        pytest.param("mnasnet_050", 64, (8, 16, 24, 48, 1280), marks=slow),
        pytest.param("efficientnet_b0", 64, (16, 24, 40, 112, 1280), marks=slow),
        pytest.param("swin_tiny", 224, (96, 96, 192, 384, 768), marks=slow),
        pytest.param("swinv2_tiny_window8", 256, (96, 96, 192, 384, 768), marks=slow),
    ],
)
def test_a_map_a_stage_and_the_last_one_pooled_gives_the_features(model, size, channels):
    backbone = create_backbone(model, image_size=size).set_train(False)
    found = maps(backbone, noise(size))
    assert backbone.map_names == ("stem", "stage1", "stage2", "stage3", "stage4")
    assert backbone.map_channels == tuple(array.shape[1] for array in found) == channels
    patches = model.startswith(("swin", "poolformer"))  # cut by the stem
    assert backbone.map_sides == tuple(array.shape[2] for array in found)
    assert [size // array.shape[2] for array in found] == [4 if patches else 2, 4, 8, 16, 32]
    assert all(array.shape[2] == array.shape[3] for array in found)
    features = forward(backbone, noise(size))
    np.testing.assert_allclose(found[-1].mean((2, 3)), features, rtol=1e-4, atol=1e-5 * np.abs(features).max())


@slow
def test_convnext_normalises_behind_the_pool():
    backbone = create_backbone("convnext_tiny", image_size=64).set_train(False)
    found = maps(backbone, noise(64))
    assert [array.shape[1:] for array in found] == [(96, 16, 16), (96, 16, 16), (192, 8, 8), (384, 4, 4), (768, 2, 2)]
    normalised = forward(backbone.norm, found[-1].mean((2, 3)))
    np.testing.assert_allclose(normalised, forward(backbone, noise(64)), rtol=1e-4, atol=1e-5)


@slow
def test_the_map_of_the_tokens_keeps_their_places():
    backbone = create_backbone("swin_tiny").set_train(False)
    tokens = forward(backbone.patch_embed, noise(224))
    np.testing.assert_array_equal(maps(backbone, noise(224))[0][:, :, 3, 5], tokens[:, 3 * 56 + 5])


def test_a_resnets_stem_ends_before_the_max_pool_and_fewer_stages_give_fewer_maps():
    backbone = create_backbone("resnet18", image_size=32, stages=2).set_train(False)
    assert backbone.map_names == ("stem", "stage1", "stage2") and backbone.map_channels == (64, 64, 128)
    stem, stage1, _ = maps(backbone, noise(32))
    np.testing.assert_array_equal(stem, forward(backbone.bn1, forward(backbone.conv1, noise(32))).clip(0))
    np.testing.assert_array_equal(stage1, forward(backbone.layer1, forward(backbone.max_pool, stem)))
    small = create_backbone("resnet18", stem="small", image_size=32, stages=1).set_train(False)
    assert [array.shape[1:] for array in maps(small, noise(32))] == [(64, 32, 32), (64, 32, 32)]


def test_maps_of_a_compiled_graph_are_those_of_pynative_mode():
    class Maps(nn.Cell):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone

        def construct(self, images):
            return self.backbone.maps(images)

    backbone = create_backbone("resnet18", image_size=32).set_train(False)
    ms.set_context(mode=ms.GRAPH_MODE)
    compiled = Maps(backbone)(Tensor(noise(32)))
    for found, expected in zip(compiled, maps(backbone, noise(32))):
        np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-4, atol=1e-5)


def test_maps_go_through_layers_that_were_put_in_place_of_others():
    backbone = create_backbone("resnet18", image_size=32, stages=1).set_train(False)
    replace_cells(backbone, (nn.ReLU,), lambda _: nn.Tanh())
    stem, stage1 = maps(backbone, noise(32))
    assert stem.min() < 0
    np.testing.assert_allclose(stage1.mean((2, 3)), forward(backbone, noise(32)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", ["squeezenet1_0", pytest.param("vit_b_32_224", marks=slow)])
def test_maps_of_a_model_without_stages_are_refused(model):
    backbone = create_backbone(model)
    asked = [lambda: maps(backbone, noise(224))]
    asked += [lambda: backbone.map_names, lambda: backbone.map_channels, lambda: backbone.map_sides]
    for ask in asked:
        with pytest.raises(ValueError, match=f"^model: '{model}' has no stages that could be told; those of resnet50"):
            ask()


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
