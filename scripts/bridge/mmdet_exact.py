"""For MMDetection: a ResNet that takes our export whole, and the last stage as RoI head with a norm behind it."""

from exported_weights import Exact, load
from mmcv.cnn import build_norm_layer
from mmdet.models.backbones import ResNet
from mmdet.models.roi_heads.shared_heads import ResLayer
from mmdet.registry import MODELS


@MODELS.register_module()
class ExactResNet(Exact, ResNet):
    """See `exported_weights.Exact`."""


@MODELS.register_module()
class ResLayerExtraNorm(ResLayer):
    """A ResNet's `layer4` on each RoI, from the checkpoint; behind its last ReLU one more norm, which starts fresh.

    Source: MoCo (He et al. 2020), 4.2: with C4, the norm comes after res5, to adjust scales in fine-tuning.

    Args:
        checkpoint (str): `.pth` of `scripts/export.py --format torchvision`.
        kwargs: What `ResLayer` takes, but `init_cfg` and `pretrained`.
    """

    def __init__(self, *, checkpoint, **kwargs):
        super().__init__(**kwargs)
        self.checkpoint = checkpoint
        self.norm = build_norm_layer(self.norm_cfg, 2048)[1]

    def forward(self, x):
        """(RoIs, 1024, 14, 14) to (RoIs, 2048, 7, 7)."""
        return self.norm(super().forward(x))

    def init_weights(self):
        load(self, self.checkpoint, fresh=("norm",))
