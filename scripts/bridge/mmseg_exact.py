"""For MMSegmentation: a ResNet that takes our export whole."""

from exported_weights import Exact
from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS


@MODELS.register_module()
class ExactResNet(Exact, ResNet):
    """See `exported_weights.Exact`."""
