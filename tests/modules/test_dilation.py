"""Dilated backbones: strides and dilations by hand, and maps against a convolution in NumPy."""

import numpy as np
import pytest

from mindspore import Tensor, nn

from mindbyol.backbones import create_backbone
from mindbyol.dilation import dilate, dilations
from mindbyol.runtime import pynative


@pytest.mark.parametrize(
    "output_stride, contract, expected",
    [
        (32, True, [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)]),
        (16, True, [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2)]),
        (16, False, [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 2, 2)]),  # the paper: all of conv5 has dilation 2
        (8, True, [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]),  # MMSegmentation's R50-D8
        (8, False, [(1, 1, 1), (2, 1, 1), (1, 2, 2), (1, 4, 4)]),
    ],
)
def test_strides_and_dilations(output_stride, contract, expected):
    assert dilations((1, 2, 2, 2), 4, output_stride, contract) == expected


def test_a_small_stem_is_fine_enough():
    assert dilations((1, 2, 2, 2), 1, 8) == [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)]


def spread(block):
    return block.conv2 if hasattr(block, "conv3") else block.conv1


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_a_resnet_is_dilated_and_its_weights_stay(model):
    backbone = create_backbone(model, image_size=64)
    before = {p.name: p for p in backbone.get_parameters()}
    assert backbone.map_sides == (32, 16, 8, 4, 2)
    dilate(backbone, 8)
    assert backbone.map_sides == (32, 16, 8, 8, 8)
    after = dict(backbone.parameters_and_names())
    assert after.keys() == before.keys() and all(after[name] is before[name] for name in before)
    assert all(p.name == name for name, p in after.items())
    for layer, first, others in (("layer3", 1, 2), ("layer4", 2, 4)):
        blocks = list(getattr(backbone, layer))
        assert [spread(block).dilation for block in blocks] == [(first, first)] + [(others, others)] * (len(blocks) - 1)
        assert all(spread(block).stride == (1, 1) for block in blocks)
        assert blocks[0].down_sample[0].stride == (1, 1)


def convolve(x, weight, dilation):
    """A 3x3 convolution of stride 1 with zeros around, tap by tap: x (C, H, W), weight (O, C, 3, 3), float64."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (dilation, dilation), (dilation, dilation)))
    out = np.zeros((len(weight), height, width))
    for row in range(3):
        for column in range(3):
            top, left = row * dilation, column * dilation
            tap = padded[:, top : top + height, left : left + width]
            out += np.tensordot(weight[:, :, row, column], tap, 1)
    return out


def normalized(cell, x):
    """A batch norm with its running statistics."""
    scale = cell.gamma.asnumpy() / np.sqrt(cell.moving_variance.asnumpy() + cell.eps)
    return (x - cell.moving_mean.asnumpy()[:, None, None]) * scale[:, None, None] + cell.beta.asnumpy()[:, None, None]


def bottleneck(block, x, dilation):
    """A residual block of stride 1 in NumPy."""
    y = np.maximum(normalized(block.bn1, np.tensordot(block.conv1.weight.asnumpy()[:, :, 0, 0], x, 1)), 0)
    y = np.maximum(normalized(block.bn2, convolve(y, block.conv2.weight.asnumpy(), dilation)), 0)
    y = normalized(block.bn3, np.tensordot(block.conv3.weight.asnumpy()[:, :, 0, 0], y, 1))
    if block.down_sample is not None:
        conv, norm = block.down_sample
        x = normalized(norm, np.tensordot(conv.weight.asnumpy()[:, :, 0, 0], x, 1))
    return np.maximum(x + y, 0)


@pytest.mark.parametrize("contract, first", [(True, 1), (False, 2)])
def test_maps_equal_a_convolution_in_numpy(contract, first):
    backbone = create_backbone("resnet50", image_size=64).set_train(False)
    dilate(backbone, 16, contract)
    rng = np.random.default_rng(1)
    for _, cell in backbone.layer4.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            cell.moving_mean.set_data(Tensor(0.1 * rng.standard_normal(cell.num_features).astype(np.float32)))
    x = np.abs(rng.standard_normal((1024, 7, 6)))
    with pynative():
        found = backbone.maps(Tensor(x[None].astype(np.float32)), first=4)
    expected = x
    for block, dilation in zip(backbone.layer4, (first, 2, 2)):
        expected = bottleneck(block, expected, dilation)
    assert len(found) == 1
    np.testing.assert_allclose(found[0].asnumpy()[0], expected, rtol=1e-3, atol=1e-3 * expected.std())


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="^output_stride: 8 is for MindCV's ResNets and ResNeXts, not for DenseNet"):
        dilate(create_backbone("densenet121", image_size=64), 8)
