"""train.py, whole, with the models `tiny` and `uneven` in MindCV's registry and with heads as smooth as they are."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[2]))

from mindcv.models.registry import register_model  # noqa: E402
from mindspore import Tensor, amp, nn  # noqa: E402

from mindbyol import heads, pretraining  # noqa: E402
from mindbyol.commands import train  # noqa: E402
from mindbyol.training import step  # noqa: E402
from tests.tiny_model import Tiny  # noqa: E402


class SmoothMLP(heads.MLP):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.relu = nn.GELU()


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
