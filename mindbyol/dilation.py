"""Dilated ResNets: the same weights at a finer output stride, as dense tasks use them."""

from mindcv.models.resnet import BasicBlock, ResNet
from mindspore import nn

_LAYERS = ("layer1", "layer2", "layer3", "layer4")


def dilations(strides, stem_stride, output_stride, contract=True):
    """Stride and dilations of each stage, so that no map is coarser than `output_stride`.

    A stage whose stride would make the map too coarse keeps stride 1, and its 3x3 convolutions are spread by that
    factor from there on. With `contract`, the first block of such a stage still has the dilation of the stage before
    it: its input is no coarser than it was. This is mmcv's `contract_dilation`, and what torchvision's
    `replace_stride_with_dilation` does, too. Without it, as in the paper of BYOL (appendix D.4), all blocks are alike.

    Args:
        strides (sequence[int]): Of the stages as they were.
        stem_stride (int): Of what stands before them.
        output_stride (int): The coarsest map's, in pixels of the image.
        contract (bool): See above.

    Returns:
        list[tuple[int, int, int]]: Of each stage: its stride, the dilation of its first block, and of the others.
    """
    found, total, dilation = [], stem_stride, 1
    for stride in strides:
        before = dilation
        if total * stride > output_stride:
            dilation *= stride
            stride = 1
        total *= stride
        found.append((stride, before if contract else dilation, dilation))
    return found


def dilate(backbone, output_stride, contract=True):
    """Gives a ResNet a finer output stride; its weights stay, under the same names.

    In a bottleneck the 3x3 convolution is spread; in a basic block the first of the two, as in MMSegmentation.

    Args:
        backbone (Cell): See `backbones.create_backbone`; changed in place.
        output_stride (int): 8, 16 or 32.
        contract (bool): See `dilations`.

    Raises:
        ValueError: It is no ResNet of MindCV's.
    """
    if not isinstance(backbone, ResNet):
        raise ValueError(
            f"output_stride: {output_stride} is for MindCV's ResNets and ResNeXts, not for {type(backbone).__name__}; "
            "set --model resnet50, or 32 for the network as it is"
        )
    names = {id(parameter): parameter.name for parameter in backbone.get_parameters()}
    stages = [getattr(backbone, name) for name in _LAYERS if isinstance(getattr(backbone, name), nn.SequentialCell)]
    stem_stride = backbone.conv1.stride[0] * (1 if isinstance(backbone.max_pool, nn.Identity) else 2)
    strides = [getattr(stage[0], _spread(stage[0])).stride[0] for stage in stages]
    for stage, (stride, first, others) in zip(stages, dilations(strides, stem_stride, output_stride, contract)):
        for place, block in enumerate(stage):
            conv = getattr(block, _spread(block))
            stride_of_block, dilation = (stride, first) if place == 0 else (1, others)
            if (conv.stride[0], conv.dilation[0]) == (stride_of_block, dilation):
                continue
            if conv.stride[0] != stride_of_block and block.down_sample is not None:
                block.down_sample[0] = _convolution(block.down_sample[0], stride_of_block, 1)
            setattr(block, _spread(block), _convolution(conv, stride_of_block, dilation))
    for parameter in backbone.get_parameters():  # a cell in a new place would be in the names
        parameter.name = names[id(parameter)]
    backbone._map_sides = None  # they are measured at the next use


def _spread(block):
    """Name of the convolution of a block that has its stride, and that is dilated."""
    return "conv1" if isinstance(block, BasicBlock) else "conv2"


def _convolution(conv, stride, dilation):
    """The same convolution, with its weight, at another stride and dilation; its map is as large as its input."""
    made = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=stride,
        pad_mode="pad",
        padding=dilation * (conv.kernel_size[0] // 2),
        dilation=dilation,
        group=conv.group,
    )
    made.weight = conv.weight
    return made.set_train(conv.training)
