"""train.py, whole, with one more model in MindCV's registry: two convolutions, whose graph compiles in seconds.

Its activations, and those of the heads, are smooth: a ReLU whose input is within rounding of zero may fall on the other
side on another CPU or another number of ranks, and change gradients by far more than rounding does.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[2]))

from mindcv.models.registry import register_model  # noqa: E402
from mindspore import Tensor, amp, nn, ops  # noqa: E402

from mindbyol import heads, pretraining  # noqa: E402
from mindbyol.commands import train  # noqa: E402
from mindbyol.training import step  # noqa: E402


class SmoothMLP(heads.MLP):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.relu = nn.GELU()


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


@register_model
def uneven(pretrained=False, num_classes=1000, in_channels=3, **_):
    """Starts with other weights on each rank, as code that differs between machines might."""
    network = Tiny(num_classes)
    network.conv1.weight.set_data(network.conv1.weight + int(os.environ["RANK_ID"]))
    return network


def always_overflows(gradients):
    return amp.all_finite(gradients).logical_and(Tensor(False))


def main(argv=None):
    with patch.object(pretraining, "MLP", SmoothMLP):
        train.main(argv)


if __name__ == "__main__":
    if os.environ.get("OVERFLOW_ON_RANK") == os.environ.get("RANK_ID", "0"):
        step.amp = SimpleNamespace(all_finite=always_overflows)
    main()
