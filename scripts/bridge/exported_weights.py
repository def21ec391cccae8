"""What MMDetection's and MMSegmentation's parts share: a `.pth` of `scripts/export.py --format torchvision`, whole.

Needs PyTorch alone. `PYTHONPATH` must name this folder, so that configurations find these modules.
"""

import json
import pickle
import zipfile

import torch
from torch.nn import functional

PADDINGS = ("torch", "mindcv")


def load(module, path, fresh=()):
    """Gives a module the weights of a file. What the module has no name for, as its other stages, is left aside.

    Args:
        module (Module): Its parameters and buffers have torchvision's names (`conv1.weight`, `layer4.0.bn1.bias`).
        path (str): `.pth` with names of torchvision at the top.
        fresh (tuple[str]): Children of the module that no file has; they keep the weights that they have.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no file of PyTorch, or lacks a parameter, or has one with another shape.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        how = f"python scripts/export.py CHECKPOINT --format torchvision -o {path}"
        raise FileNotFoundError(f"BYOL_WEIGHTS: {path} is not there; write it with: {how}") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"BYOL_WEIGHTS: {path} is no weights file of PyTorch: {reason}") from None
    wanted = {name: value for name, value in module.state_dict().items() if name.split(".")[0] not in fresh}
    wrong = [name for name, value in wanted.items() if name not in weights or weights[name].shape != value.shape]
    if wrong:
        raise ValueError(
            f"BYOL_WEIGHTS: {path}: {len(wrong)} of {len(wanted)} entries are missing or of another shape, first "
            f"{wrong[0]}; take a file of scripts/export.py --format torchvision, of the network that the "
            "configuration names"
        )
    module.load_state_dict({name: weights[name] for name in wanted}, strict=False)


def check_padding(path, padding):
    """Compares the padding that was asked for with the one in the file's model card, where it has one.

    Raises:
        ValueError: They differ.
    """
    if not zipfile.is_zipfile(path):  # PyTorch's older container, never ours
        return
    with zipfile.ZipFile(path) as archive:
        cards = [name for name in archive.namelist() if name.endswith("/extra/mindbyol.json")]
        trained = json.loads(archive.read(cards[0]))["padding"] if cards else padding
    if trained != padding:
        raise ValueError(
            f"BYOL_PADDING: {padding}, but {path} was trained with '{trained}'"
            + (f"; set BYOL_PADDING={trained}" if trained in PADDINGS else ", which has no counterpart here")
        )


class PaddedMaxPool(torch.nn.Module):
    """The 3x3 max-pool of stride 2 behind a ResNet's stem, as MindCV pads it: evenly where the side is odd, else by
    one row below and one column to the right.

    The zeros are as good as -inf because the pool stands behind a ReLU.
    """

    def forward(self, x):
        """(N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2))."""
        height, width = x.shape[-2:]
        return functional.max_pool2d(functional.pad(x, (width % 2, 1, height % 2, 1)), 3, 2)


class Exact:
    """Goes before a `ResNet` of MMDetection or MMSegmentation: takes a file whole or not at all, and pads as it was
    trained.

    Args:
        checkpoint (str): `.pth` of `scripts/export.py --format torchvision`.
        padding (str): `torch`, or `mindcv` for weights whose export says so.
        kwargs: What the `ResNet` takes, but `init_cfg` and `pretrained`.

    Raises:
        ValueError: No such padding.
    """

    def __init__(self, *, checkpoint, padding, **kwargs):
        if padding not in PADDINGS:
            raise ValueError(f"BYOL_PADDING: '{padding}' is none of {', '.join(PADDINGS)}")
        super().__init__(**kwargs)
        self.checkpoint, self.padding = checkpoint, padding
        if padding == "mindcv":
            self.maxpool = PaddedMaxPool()

    def init_weights(self):
        load(self, self.checkpoint)
        check_padding(self.checkpoint, self.padding)
