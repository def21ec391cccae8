"""Hands the online backbone to others: MindCV, PyTorch, safetensors, MINDIR and ONNX, each checked after writing."""

import contextlib
import json
import os
from dataclasses import replace

import numpy as np

from mindbyol import checkpoint
from mindbyol.files import check_output, replacing
from mindbyol.weights import layouts, networks, torch_files
from mindbyol.weights.reading import read_weights
from mindbyol.weights.resnets import RESNETS

FORMATS = {
    "mindcv": ".ckpt",
    "torchvision": ".pth",
    "safetensors": ".safetensors",
    "mindir": ".mindir",
    "onnx": ".onnx",
}
TOLERANCE = 1e-4
_INPUT = "float32 (N, 3, H, W), RGB; (pixel - mean) / std, with mean and std for pixels of 0 to 255"


@contextlib.contextmanager
def _working_in(folder):
    """Where a network does not compile, MindSpore leaves `rank_0/` in the working folder: let it be this one."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def export(weights, path, kind, heads=False):
    """Writes the online backbone, and the projector if asked, in the form of another project; then checks the file.

    Args:
        weights (Weights): What `read_weights` gave.
        path (Path): File to write, with the suffix of the format; it is there only when all checks have passed.
        kind (str): One of `FORMATS`.
        heads (bool): The projector too.

    Returns:
        list[str]: What was checked, with figures; lines that begin with WARNING name what the receiver must know.

    Raises:
        ValueError: The format cannot hold this network, something that it needs is not installed, the file cannot be
            written there, or the check failed.
    """
    if kind not in FORMATS:
        raise ValueError(f"--format {kind}: known are {', '.join(FORMATS)}")
    path = check_output(path, FORMATS[kind])
    if heads and not weights.part(layouts.PROJECTOR):
        raise ValueError(f"--heads: {weights.found}, which has no projector; leave the flag out")
    if not is_resnet(weights) and kind == "torchvision":
        raise ValueError(
            f"--format torchvision: {weights.card.model} is no ResNet that torchvision has; use --format safetensors"
        )
    card = replace(weights.card, kind="backbone and projector" if heads else "backbone", input=_INPUT)
    with replacing(path) as beside:
        return _WRITERS[kind](weights, beside, card, heads)


def is_resnet(weights):
    """Whether torchvision has this network under the same names."""
    return weights.card.model in RESNETS


def _tensors(weights, heads):
    tensors = checkpoint.to_mindcv(weights.part(layouts.ONLINE), weights.mindcv_names)
    if heads:
        tensors.update({f"projector.{name}": array for name, array in weights.part(layouts.PROJECTOR).items()})
    return tensors


def _torch_tensors(weights, heads):
    tensors = _tensors(weights, heads)
    renamed = {theirs: tensors[ours] for ours, theirs in layouts.to_torch(tensors).items()}
    counters = [
        name.replace("running_mean", "num_batches_tracked") for name in renamed if name.endswith("running_mean")
    ]
    return {**renamed, **{name: np.zeros((), np.int64) for name in counters}}


def _write_mindcv(weights, path, card, heads):
    checkpoint.write(path, _tensors(weights, heads), card)
    lines = [_read_back(weights, path, heads)]
    if card.stages < 4:
        return lines + [_FEWER_STAGES.format("MindCV", card.stages)]
    if card.stem == "small":
        return lines + [
            "WARNING: MindCV's own network has a stem for larger images; build this one with "
            f"mindbyol.backbones.create_backbone('{card.model}', stem='small', padding='{card.padding}')"
        ]
    features = networks.forward(networks.load_in_mindcv(card.model, path), _images(weights))
    return lines + _compare(weights, "in MindCV", features, _MINDCV_REMEDY)


def _write_torchvision(weights, path, card, heads):
    torch_files.write_zip(path, _torch_tensors(weights, heads), card.to_dict())
    return [_read_back(weights, path, heads), *_in_torchvision(weights)]


def _write_safetensors(weights, path, card, heads):
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    resnet = is_resnet(weights)
    tensors = _torch_tensors(weights, heads) if resnet else _tensors(weights, heads)
    metadata = {"format": "pt" if resnet else "ms", "names": "torchvision" if resnet else "mindcv"}
    tensors = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()}
    try:
        save_file(tensors, path, {**metadata, "card": json.dumps(card.to_dict())})
    except SafetensorError as error:
        raise OSError(f"cannot write {path.name}: {error}") from error
    lines = [_read_back(weights, path, heads), f"names: {metadata['names']}"]
    return lines + (_in_torchvision(weights) if resnet else [])


def _in_torchvision(weights):
    if weights.card.stages < 4:
        return [_FEWER_STAGES.format("torchvision", weights.card.stages)]
    if weights.card.stem == "small":
        return [f"WARNING: torchvision's own network has a stem for larger images; give it {_TORCH_SMALL_STEM}"]
    features = networks.forward(networks.build(weights, padding="torch"), _images(weights))
    return _compare(weights, "in torchvision", features, _TORCH_REMEDY)


def _read_back(weights, path, heads):
    again = read_weights(path, model=weights.card.model)
    parts = (layouts.ONLINE, layouts.PROJECTOR) if heads else (layouts.ONLINE,)
    for part in parts:
        if checkpoint.digest(again.part(part)) != checkpoint.digest(weights.part(part)):
            raise ValueError(f"check: what was written to {path.name} does not read back as it was")
    return f"check: {sum(len(again.part(part)) for part in parts)} arrays read back bit for bit"


_MINDCV_REMEDY = {
    "torch": "model.max_pool = nn.SequentialCell(nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1))), "
    "nn.MaxPool2d(3, 2, pad_mode='valid'))",
    "same": "build the network with mindbyol.backbones.create_backbone(..., padding='same')",
}
_TORCH_REMEDY = {
    "mindcv": "model.maxpool = torch.nn.MaxPool2d(3, 2, ceil_mode=True) (for maps of even side, as 224 gives)",
    "same": "pad its strided layers as TensorFlow does, or use --format onnx, which carries the padding along",
}
_FEWER_STAGES = (
    "WARNING: {0}'s own network has four stages, these weights are those of the first {1}; leave the others out"
)
_TORCH_SMALL_STEM = "model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False); model.maxpool = torch.nn.Identity()"


def _images(weights):
    """Of the size that the network was trained with; a MINDIR or ONNX file keeps it."""
    return networks.sample_images(weights.card.image_size)


def _compare(weights, where, features, remedies):
    """Says how the receiver's features differ from the checkpoint's own, and what to do if they do."""
    own = networks.forward(networks.build(weights), _images(weights))
    difference = networks.relative_difference(features, own)
    if difference <= TOLERANCE:
        return [f"check: features {where} agree to {difference:.1e} (relative)"]
    padding = weights.card.padding
    if padding not in remedies:
        raise ValueError(f"check: features {where} differ by {difference:.1e} (relative)")
    return [
        f"WARNING: these weights belong to padding '{padding}'; {where} as shipped the features differ by "
        f"{difference:.1e} (relative). For exact features: {remedies[padding]}"
    ]


def _write_graph(weights, path, card, heads):
    from mindbyol.weights import graphs

    writer = graphs.write_mindir if path.suffix == ".mindir" else graphs.write_onnx
    with _working_in(path.parent):
        difference = writer(networks.build(weights, heads), path, card.to_dict(), _images(weights))
    if not difference <= TOLERANCE:
        raise ValueError(f"check: the features of {path.name} differ by {difference:.1e} (relative); not written")
    return [f"check: {'features and projections' if heads else 'features'} agree to {difference:.1e} (relative)"]


_WRITERS = {
    "mindcv": _write_mindcv,
    "torchvision": _write_torchvision,
    "safetensors": _write_safetensors,
    "mindir": _write_graph,
    "onnx": _write_graph,
}
