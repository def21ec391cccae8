"""One more model in MindCV's registry, `tiny_resnet`: four stages of one block, an eighth as wide as ResNet-18's."""

from mindcv.models.registry import register_model
from mindcv.models.resnet import BasicBlock, ResNet
from mindspore import nn


class TinyResNet(ResNet):
    def __init__(self, num_classes):
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes)
        self.num_features = 64
        self.classifier = nn.Dense(64, num_classes)

    def _make_layer(self, block, channels, *args, **kwargs):
        return super()._make_layer(block, channels // 8, *args, **kwargs)


@register_model
def tiny_resnet(pretrained=False, num_classes=1000, in_channels=3, **_):
    return TinyResNet(num_classes)
