"""More models in MindCV's registry: `tiny`, two convolutions, and `tiny_resnet`, whose graphs compile in seconds.

The activations of `tiny` are smooth: a ReLU whose input is within rounding of zero may fall on the other side on
another CPU or another number of ranks, and change gradients by far more than rounding does.
"""

from mindcv.models.registry import register_model
from mindcv.models.resnet import BasicBlock, ResNet
from mindspore import nn, ops


class Tiny(nn.Cell):
    def __init__(self, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2)
        self.bn2 = nn.BatchNorm2d(16)
        self.classifier = nn.Dense(16, num_classes)

    def forward_features(self, x):
        x = ops.gelu(self.bn1(self.conv1(x)))
        return ops.gelu(self.bn2(self.conv2(x)))

    def construct(self, x):
        return self.classifier(ops.mean(self.forward_features(x), (2, 3)))


@register_model
def tiny(pretrained=False, num_classes=1000, in_channels=3, **_):
    return Tiny(num_classes)


class TinyResNet(ResNet):
    """A ResNet with a block a stage, whose stages are 8, 16, 32 and 64 channels wide."""

    def __init__(self, num_classes):
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes)
        self.classifier = nn.Dense(64, num_classes)

    def _make_layer(self, block, channels, block_nums, stride=1):
        return super()._make_layer(block, channels // 8, block_nums, stride)


@register_model
def tiny_resnet(pretrained=False, num_classes=1000, in_channels=3, **_):
    return TinyResNet(num_classes)
