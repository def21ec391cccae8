"""The model card: a JSON object inside a weights file that says what the file is, whatever the format of the file."""

import argparse
import dataclasses
import json
from dataclasses import dataclass, field
from typing import Optional

from mindbyol.config.values import COLOURS, colour

STEMS = ("imagenet", "small")
PADDINGS = ("mindcv", "torch", "same")
_DEEPEST = 20


def _text(value):
    return isinstance(value, str)


def _name(value):
    return isinstance(value, str) and value.isprintable()


def _integer(least, most):
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _numbers(above):
    return lambda value: (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(n, (int, float)) and not isinstance(n, bool) and above < n < 1e6 for n in value)
    )


def _colour(value):
    try:
        return isinstance(value, str) and colour(value) == value
    except argparse.ArgumentTypeError:
        return False


def _run(value):
    if not isinstance(value, dict):
        return False
    parts = (value.get("config"), value.get("log"), value.get("images", {}))  # earlier versions noted no images
    return all(isinstance(part, dict) for part in parts)


def _key(good=_text, what="a text", default=None):
    """A key of the card: whether a value of a file is good for it, and what it must be."""
    return field(default=default, metadata={"good": good, "what": what})


_COUNT = (_integer(0, 2**31 - 1), "a whole number")


@dataclass(frozen=True)
class Card:
    """What a weights file says of itself; None stands for what it does not say.

    Attributes:
        model (str): Name for `mindcv.create_model`.
        stem, padding, stages: As for `backbones.create_backbone`.
        image_resize (int): Side of the images in training, in pixels; see `image_size`.
        mean, std (list[float]): Three numbers each, for pixels of 0 to 255.
        background (str): What was seen through transparent pixels; see `config.values.colour`.
        recipe (str): Name of the recipe's file.
        data (str): What the images were.
        epoch, step (int): How far the run had come.
        epoch_size (int): Epochs of the whole run.
        mindbyol, mindspore (str): Versions that the file was written with.
        kind (str): `byol`, a checkpoint with all parts; `backbone`; `backbone and projector`.
        run (dict): What a run needs to go on: `config`, `log`, `images`. `data` and `step` stand beside it.
        source (str): What the file was converted from.
        input (str): What images an exported network takes.
        more (dict): Keys that are not known here; they are kept.
    """

    model: Optional[str] = _key(_name, "a text on one line")
    stem: Optional[str] = _key(STEMS.__contains__, " or ".join(STEMS))
    padding: Optional[str] = _key(PADDINGS.__contains__, ", ".join(PADDINGS[:-1]) + f" or {PADDINGS[-1]}")
    stages: int = _key(_integer(1, 4), "1, 2, 3 or 4", default=4)
    image_resize: Optional[int] = _key(_integer(8, 65536), "a whole number from 8 to 65536")
    mean: Optional[list] = _key(_numbers(-1e6), "three numbers")
    std: Optional[list] = _key(_numbers(0.01), "three numbers above 0.01")
    background: Optional[str] = _key(_colour, f"{', '.join(COLOURS)} or three numbers such as 255,128,0")
    recipe: Optional[str] = _key()
    data: Optional[str] = _key()
    epoch: Optional[int] = _key(*_COUNT)
    step: Optional[int] = _key(*_COUNT)
    epoch_size: Optional[int] = _key(*_COUNT)
    mindbyol: Optional[str] = _key()
    mindspore: Optional[str] = _key()
    kind: Optional[str] = _key()
    run: Optional[dict] = _key(_run, "an object with `config` and `log`, themselves objects, as `images` is")
    source: Optional[str] = _key()
    input: Optional[str] = _key()
    more: dict = field(default_factory=dict)

    @classmethod
    def from_dict(cls, content, source):
        """Checks what a file says of itself.

        Args:
            content (dict): The JSON object; null stands for what it does not say.
            source (Path): The file it comes from, for messages.

        Returns:
            Card: Beside a `run` there are `data` and `step`.

        Raises:
            ValueError: A key holds something else than it must.
        """
        keys = {key.name: key.metadata for key in dataclasses.fields(cls) if key.name != "more"}
        said = {key: value for key, value in content.items() if key in keys and value is not None}
        for key, value in said.items():
            if not keys[key]["good"](value):
                raise ValueError(
                    f"{source}: its model card has {_shown(value)} as `{key}`, which must be {keys[key]['what']}"
                )
        for key in ("data", "step"):
            if "run" in said and key not in said:
                raise ValueError(f"{source}: its model card has a `run`, but no `{key}`")
        return cls(**said, more={key: value for key, value in content.items() if key not in keys})

    def to_dict(self):
        """The JSON object that is stored; `from_dict` gives the same card again."""
        keys = [key.name for key in dataclasses.fields(self) if key.name != "more"]
        said = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        return {**said, **self.more}

    @property
    def image_size(self):
        """Side of the images that the network is for, in pixels: that of the training, if the file says it."""
        return self.image_resize or (32 if self.stem == "small" else 224)


def parse_card(text, source):
    """Reads the JSON text of a model card; whatever holds one is read with this.

    Args:
        text (str or bytes): The card; None in a file that has none.
        source (Path): The file it comes from, for messages.

    Returns:
        Card: One that says nothing, where there is none.

    Raises:
        ValueError: It is no JSON object, is nested too deep, or a key holds something else than it must.
    """
    if text is None:
        return Card()
    try:
        content = json.loads(text)
        depth = _depth(content, _DEEPEST)
    except (ValueError, RecursionError):
        raise ValueError(f"{source}: its model card is no JSON, or nested too deep") from None
    if not isinstance(content, dict) or depth > _DEEPEST:
        what = f"nested deeper than {_DEEPEST}" if depth > _DEEPEST else f"{_shown(content)}, not a JSON object"
        raise ValueError(f"{source}: its model card is {what}")
    return Card.from_dict(content, source)


def _depth(value, limit):
    """How deep lists and objects are nested, or `limit` + 1 where that is more."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(one, limit - 1) for one in inner), default=0) if limit > 0 else 1


def _shown(value):
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
