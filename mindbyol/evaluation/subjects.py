"""What is scored: the backbone of a checkpoint, the same one untrained, and raw pixels."""

import logging
from typing import Any, NamedTuple, Optional

import mindspore as ms
from mindspore import nn

from mindbyol import checkpoint
from mindbyol.backbones import create_backbone
from mindbyol.config.keys import plain
from mindbyol.model_card import Card
from mindbyol.weights.subject import open_subject

logger = logging.getLogger(__name__)


class Scored(NamedTuple):
    """Something that gives features.

    Attributes:
        name (str): `trained`, `untrained` or `pixels`.
        backbone (Cell): (N, 3, H, W), normalised, to (N, F), in evaluation mode; None for raw pixels.
        mean, std (sequence[float]): What it wants its pixels normalised with, on the 0-255 scale.
        digest (str): Of the backbone's arrays; None for raw pixels.
        card (Card): What the network is; None for raw pixels.
        path (str): The checkpoint; None without one.
    """

    name: str
    backbone: Optional[nn.Cell]
    mean: Any = (0.0, 0.0, 0.0)
    std: Any = (1.0, 1.0, 1.0)
    digest: Optional[str] = None
    card: Optional[Card] = None
    path: Optional[str] = None


def open_all(recipe):
    """What a recipe asks to score: `ckpt_path`, and with `baselines` what it is to be compared with.

    Args:
        recipe (Recipe): Of a task that scores.

    Returns:
        list[Scored]: The trained backbone first.

    Raises:
        FileNotFoundError, ValueError: There is no checkpoint, or it cannot be read.
    """
    baselines = recipe.values.get("baselines")
    if not recipe.ckpt_path and not baselines:
        raise ValueError("ckpt_path: which checkpoint is to be scored? (--baselines True scores without one)")
    found = [open_trained(recipe, recipe.ckpt_path)] if recipe.ckpt_path else []
    if baselines:
        found += [_untrained(recipe, found[0].card if found else None), Scored("pixels", None)]
    return found


def open_trained(recipe, path):
    """The backbone of a weights file of any known project, for a recipe.

    Args:
        recipe (Recipe): Says what the file does not; where both do, the file counts.
        path (str): The file.

    Returns:
        Scored: The backbone, in evaluation mode.

    Raises:
        FileNotFoundError, ValueError: See `weights.subject.open_subject`.
    """
    subject = open_subject(path, recipe.model if "model" in recipe.given else None, recipe.image_resize)
    card = subject.card
    logger.info(f"{path}: {subject.found}")
    for key in ("stem", "padding", "stages", "mean", "std"):
        value = getattr(card, key)
        if key in recipe.given and value is not None and plain(value) != plain(recipe.values[key]):
            logger.warning(f"{key}: the checkpoint's {plain(value)} is used, not {plain(recipe.values[key])}")
    if card.image_resize not in (None, recipe.image_resize):
        logger.warning(f"image_resize: trained at {card.image_resize} px, scored at {recipe.image_resize}")
    mean, std = card.mean or recipe.mean, card.std or recipe.std
    return Scored("trained", subject.backbone, mean, std, subject.digest, card, path)


def _untrained(recipe, card):
    """The backbone as train.py starts with it: the same seed gives the same weights."""
    if card is None:
        keys = ("model", "stem", "padding", "stages", "image_resize", "mean", "std")
        card = Card(**{key: recipe.values[key] for key in keys})
    ms.set_seed(recipe.seed)
    backbone = create_backbone(card.model, card.stem, card.padding, recipe.image_resize, card.stages).set_train(False)
    digest = checkpoint.digest({p.name: p.asnumpy() for p in backbone.get_parameters()})
    mean, std = card.mean or recipe.mean, card.std or recipe.std
    return Scored("untrained", backbone, mean, std, digest, Card(**{**_network(card), "mean": mean, "std": std}))


def _network(card):
    return {key: getattr(card, key) for key in ("model", "stem", "padding", "stages", "image_resize")}
