"""The network: its loss by hand, its dropout, that padding adds nothing, and that half precision does what it must."""

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor, nn, ops

from mindbyol.backbones import create_backbone
from mindbyol.byol import Normalize
from mindbyol.config import recipe_from
from mindbyol.dense import Stages, within
from mindbyol.runtime import pynative
from mindbyol.segmentation.network import (
    FCNHead,
    channel_dropout,
    dropped_channels,
    pixel_accuracy,
    pixel_loss,
    resize_logits,
)
from mindbyol.segmentation.task import NETWORK, create_network
from mindbyol.training.precision import set_precision
from tests import tiny_model  # noqa: F401  (registers the model)

SMALL = {"head_channels": 6, "aux_channels": 4}
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)


def settings(**keys):
    recipe = recipe_from({"task": "segmentation", **SMALL, **keys})
    return {key.name: recipe.values[key.name] for key in NETWORK.keys}


def network(**keys):
    return create_network(create_backbone("tiny_resnet", image_size=64), Normalize(MEAN, STD), 5, settings(**keys))


def batch(size=32, count=2, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, size, size)).astype(np.uint8)
    mask = rng.choice([0, 1, 2, 3, 4, 255], (count, size, size)).astype(np.uint8)
    return images, mask, np.full((count, 2), size, np.float32), rng.random((count, 10)).astype(np.float32)


def tensors(arrays):
    return [Tensor(array) for array in arrays]


def cross_entropies(logits, mask):
    """Of each pixel, float64; 0 where it does not count."""
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    own = np.take_along_axis(log_p, np.where(mask == 255, 0, mask)[:, None].astype(int), 1)[:, 0]
    return np.where(mask == 255, 0.0, -own)


def test_the_loss_is_averaged_over_pixels_that_do_not_count_too():
    logits = np.log(np.array([[[[0.5, 0.9]], [[0.25, 0.05]], [[0.25, 0.05]]]]))  # two pixels, three classes
    with pynative():
        found = pixel_loss(Tensor(logits, ms.float32), Tensor([[[1, 255]]], ms.int32))
        accuracy = pixel_accuracy(Tensor(logits, ms.float32), Tensor([[[0, 255]]], ms.int32))
    assert float(found) == pytest.approx(np.log(4) / 2, rel=1e-6)
    assert float(accuracy) == 1.0


def test_loss_and_statistics_against_numpy():
    segmenter = network(head_dropout=0.5)
    arrays = batch()
    arrays[2][1] = 20, 25
    with pynative():
        loss, (decode, auxiliary, accuracy) = segmenter(*tensors(arrays))
        normalized = segmenter.normalize(Tensor(arrays[0])) * within(Tensor(arrays[2]), 32, 32)
        # the running statistics have moved, those of the batch are the same
        maps = segmenter.stages(normalized)
        kept = channel_dropout(Tensor(arrays[3]), 0.5)
        scores = segmenter.heads.decode(maps[-1], kept[:, :6]), segmenter.heads.auxiliary(maps[-2], kept[:, 6:])
        logits = [resize_logits(of_head, 32, 32, False).asnumpy().astype(np.float64) for of_head in scores]
    assert segmenter.statistics == ("decode_loss", "auxiliary_loss", "pixel_accuracy")
    losses = [cross_entropies(of_head, arrays[1]).sum() / arrays[1].size for of_head in logits]
    assert float(decode) == pytest.approx(losses[0], rel=1e-5)
    assert float(auxiliary) == pytest.approx(losses[1], rel=1e-5)
    assert float(loss) == pytest.approx(losses[0] + 0.4 * losses[1], rel=1e-5)
    right = (logits[0].argmax(1) == arrays[1])[arrays[1] != 255].mean()
    assert float(accuracy) == pytest.approx(right, abs=1e-4)


def test_dropout_of_channels_is_given_by_its_numbers():
    drawn = Tensor(np.array([[0.0, 0.0999, 0.1, 0.5, 0.9999]], np.float32))
    with pynative():
        kept = channel_dropout(drawn, 0.1).asnumpy()
        np.testing.assert_allclose(kept, [[0, 0, 1 / 0.9, 1 / 0.9, 1 / 0.9]], rtol=1e-6)
        np.testing.assert_array_equal(channel_dropout(drawn, 0.0).asnumpy(), np.ones((1, 5)))
        head = FCNHead(3, 5, 2, 1).set_train(False)
        x = Tensor(np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32))
        features = head.convs(x).asnumpy() * kept[0][:, None, None]
        weight, bias = head.scores.weight.asnumpy()[:, :, 0, 0], head.scores.bias.asnumpy()
        expected = np.einsum("oc,nchw->nohw", weight, features) + bias[:, None, None]
        np.testing.assert_allclose(head(x, Tensor(kept)).asnumpy(), expected, atol=1e-5)


def test_as_many_numbers_are_drawn_as_channels_may_be_dropped():
    assert dropped_channels(settings()) == 10
    assert dropped_channels(settings(aux_weight=0)) == 6


def test_padding_is_zero_after_normalising():
    """Whatever the pixels there are: what is beyond the size of an image has no part in anything."""
    segmenter = network().set_train(False)
    images, _, _, _ = batch()
    sizes = np.array([[32, 32], [20, 25]], np.float32)
    other = images.copy()
    other[1, :, 20:] = 7
    other[1, :, :, 25:] = 200
    normalized = (images - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(STD, (1, 3, 1, 1))
    normalized[1, :, 20:] = 0
    normalized[1, :, :, 25:] = 0
    with pynative():
        found = (segmenter.normalize(Tensor(other)) * within(Tensor(sizes), 32, 32)).asnumpy()
        np.testing.assert_allclose(found, normalized, atol=1e-5)
        np.testing.assert_array_equal(*(segmenter.logits(*tensors((x, sizes))).asnumpy() for x in (images, other)))


def test_the_paper_s_head():
    """Output stride 16, no auxiliary head, two convolutions of dilation 6."""
    keys = {"output_stride": 16, "contract_dilation": False, "head_dilation": 6, "head_concat": False, "aux_weight": 0}
    segmenter = network(**keys)
    assert segmenter.stages.backbone.map_sides == (32, 16, 8, 4, 4)
    convs = [cell for _, cell in segmenter.heads.cells_and_names() if isinstance(cell, nn.Conv2d)]
    assert [(conv.kernel_size[0], conv.dilation[0], conv.in_channels) for conv in convs] == [
        (3, 6, 64),
        (3, 6, 6),
        (1, 1, 6),
    ]
    assert segmenter.statistics == ("pixel_accuracy",) and segmenter.heads.auxiliary is None


def test_parameters_are_named_as_in_byols_checkpoints():
    names = [p.name for p in network().get_parameters()]
    assert len(set(names)) == len(names)
    backbone = [name for name in names if name.startswith("online.backbone.")]
    assert "online.backbone.layer4.0.conv1.weight" in backbone
    assert all(name.startswith(("heads.decode.", "heads.auxiliary.")) for name in set(names) - set(backbone))
    assert "heads.decode.scores.bias" in names and "heads.auxiliary.convs.0.0.weight" in names


def twins(level):
    """A network of float32 and one of half precision, with the same weights, without dropout."""
    segmenter, half = network(head_dropout=0.0), network(head_dropout=0.0)
    ms.load_param_into_net(half, {p.name: p for p in segmenter.get_parameters()})
    names = [p.name for p in half.get_parameters()]
    set_precision(half, half.half_precision_cells(), level, "float16")
    assert [p.name for p in half.get_parameters()] == names
    half.set_train()
    return segmenter, half


@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
def test_half_precision_stays_inside_stages_and_heads(level):
    with pynative():
        expected, found = (float(segmenter(*tensors(batch()))[0]) for segmenter in twins(level))
    assert found == pytest.approx(expected, rel=2e-2) and found != expected


@pytest.mark.slow
@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
def test_half_precision_has_gradients_in_a_graph(level):
    def gradients(segmenter):
        parameters = ms.ParameterTuple(segmenter.trainable_params())
        step = ops.value_and_grad(segmenter, None, parameters, has_aux=True)
        (loss, _), found = step(*tensors(batch()))
        return float(loss), {p.name: gradient for p, gradient in zip(parameters, found)}

    (expected_loss, expected), (loss, found) = map(gradients, twins(level))
    assert loss == pytest.approx(expected_loss, rel=2e-2) and loss != expected_loss
    assert found.keys() == expected.keys() and all(gradient.dtype == ms.float32 for gradient in found.values())
    last = "heads.decode.scores.weight"
    np.testing.assert_allclose(found[last].asnumpy(), expected[last].asnumpy(), atol=0.05 * expected[last].max())


def test_stages_alone_go_on_where_the_others_ended():
    backbone = create_backbone("tiny_resnet", image_size=64).set_train(False)
    x = Tensor(batch()[0].astype(np.float32) / 64)
    with pynative():
        maps = Stages(backbone)(x)
        first = Stages(backbone, end=4)(x)
        last = Stages(backbone, first=4)(first[-1])
    assert len(maps) == 5 and len(first) == 4 and len(last) == 1
    np.testing.assert_array_equal(last[0].asnumpy(), maps[-1].asnumpy())
