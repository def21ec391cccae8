"""What a weights file is and where it comes from: the project, how far the run had come, the model card."""

from dataclasses import replace

import mindspore

import mindbyol
from mindbyol.weights import layouts
from mindbyol.weights.resnets import RESNETS, resnet_name

IMAGENET_MEAN = [123.675, 116.28, 103.53]
IMAGENET_STD = [58.395, 57.12, 57.375]


def describe_source(contents, layout, parts):
    """What the file is, for people: "mmselfsup 1.x, full checkpoint, epoch 200".

    Args:
        contents (Contents): The opened file.
        layout (Layout): Of the project that wrote it.
        parts (dict): Part to what the file has of it.
    """
    title, beside = layout.title, contents.beside
    meta = beside["meta"] if isinstance(beside.get("meta"), dict) else {}
    if title == "mmselfsup 1.x" and "mmpretrain" in str(meta.get("cfg", "")):
        title = "mmpretrain"
    if title == "torchvision" and isinstance(beside.get("author"), str):
        title = "mmselfsup, extracted backbone"
    if contents.card.mindbyol is not None and contents.card.source is None:
        title = "mindbyol"
    if layouts.TARGET in parts:
        kind = "full checkpoint"
    elif len(parts) > 1:
        kind = "backbone and " + ", ".join(layouts.TITLES[part] for part in parts if part != layouts.ONLINE)
    else:
        kind = "backbone"
    progress = _progress(contents)
    return ", ".join([title, kind, *(f"{unit} {count}" for unit, count in list(progress.items())[:1])])


def make_card(contents, found, layout, backbone, model, padding):
    """The model card of converted weights: what the file's own card says, and what else can be told.

    Args:
        contents, layout: As for `describe_source`.
        found (str): What that gave.
        backbone (dict): Our name to tensor, of the online backbone.
        model (str): The network that is asked for, or None; it counts where the file does not say which it is.
        padding (str): Over what the file says; None for that.

    Raises:
        ValueError: The file is one of another model, or of a network that must be named and is not.
    """
    card = replace(contents.card, **_progress(contents))
    if card.mindbyol is None:
        versions = {"mindbyol": mindbyol.__version__, "mindspore": card.mindspore or mindspore.__version__}
        card = replace(card, source=card.source or found, **versions)
    shapes = {name: tensor.shape for name, tensor in backbone.items()}
    model = _model(card, shapes, model)
    small = model in RESNETS and shapes.get("conv1.weight", ())[-1:] == (3,)
    stem = card.stem or ("small" if small else "imagenet")
    card = replace(card, model=model, stem=stem, padding=padding or card.padding or layout.padding)
    if stem == "imagenet":
        card = replace(card, mean=card.mean or IMAGENET_MEAN, std=card.std or IMAGENET_STD)
    return card


def _model(card, shapes, asked):
    """MindCV's name of the network: the card's, or told from the weights of a ResNet, or the one asked for."""
    if card.model is not None:
        told = card.model
    elif asked is not None and asked not in RESNETS:
        return asked
    else:
        try:
            told = resnet_name(shapes)
        except ValueError:
            if asked is None:
                raise
            return asked  # what does not fit it will be named
    if asked not in (None, told):
        raise ValueError(f"is a checkpoint of {told}, not of {asked}; set --model {told}")
    return told


def _progress(contents):
    """How far the run had come, in a card's terms: {"epoch": 200}."""
    card, beside = contents.card, contents.beside
    known = {
        "epoch": _finished_epochs(beside) if card.epoch is None else card.epoch,
        "step": beside.get("step") if card.step is None else card.step,
    }
    return {unit: count for unit, count in known.items() if type(count) is int and 0 <= count < 2**31}


def _finished_epochs(beside):
    """Epochs that a run of another project had finished.

    mmcv and mmengine store that number, in `meta`. Training scripts in the manner of PyTorch's ImageNet example (MoCo,
    SimSiam) store it as `epoch`. Lightning, timm (format 2) and scripts that keep the weights under `model`
    (torchvision's, DeiT, MAE) store the number, from 0, of the epoch that they have finished.
    """
    if isinstance(beside.get("meta"), dict) and "epoch" in beside["meta"]:
        return beside["meta"]["epoch"]
    epoch = beside.get("epoch")
    lightning = "pytorch-lightning_version" in beside or "global_step" in beside
    from_zero = lightning or "state_dict" not in beside or beside.get("version") == 2
    return epoch + 1 if type(epoch) is int and from_zero else epoch
