"""The model card: a JSON object inside a weights file that says what the file is, whatever the format of the file."""

import json

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


def _run(value):
    if not isinstance(value, dict):
        return False
    parts = (value.get("config"), value.get("log"), value.get("images", {}))  # earlier versions noted no images
    return all(isinstance(part, dict) for part in parts)


# Keys that the program uses: (whether a value is good, what it must be).
_KNOWN = {
    "model": (_name, "a text on one line"),
    "stem": (STEMS.__contains__, " or ".join(STEMS)),
    "padding": (PADDINGS.__contains__, ", ".join(PADDINGS[:-1]) + f" or {PADDINGS[-1]}"),
    "stages": (_integer(1, 4), "1, 2, 3 or 4"),
    "image_resize": (_integer(8, 65536), "a whole number from 8 to 65536"),
    "mean": (_numbers(-1e6), "three numbers"),
    "std": (_numbers(0.01), "three numbers above 0.01"),  # of pixels of 0-255
    "kind": (_text, "a text"),
    "data": (_text, "a text"),
    "epoch": (_integer(0, 2**31 - 1), "a whole number"),
    "step": (_integer(0, 2**31 - 1), "a whole number"),
    "run": (_run, "an object with `config` and `log`, themselves objects, as `images` is"),
}


def parse_card(text, source):
    """Reads the JSON text of a model card; whatever holds one is read with this.

    Args:
        text (str or bytes): The card; None in a file that has none.
        source (Path): The file it comes from, for messages.

    Returns:
        dict: The card, empty where there is none. What stands under a key that the program uses is of the right kind,
        and beside a `run` there are `data` and `step`; other keys may hold anything.

    Raises:
        ValueError: It is no JSON object, is nested too deep, or a key holds something else than it must.
    """
    if text is None:
        return {}
    try:
        card = json.loads(text)
        depth = _depth(card, _DEEPEST)
    except (ValueError, RecursionError):
        raise ValueError(f"{source}: its model card is no JSON, or nested too deep") from None
    if not isinstance(card, dict) or depth > _DEEPEST:
        what = f"nested deeper than {_DEEPEST}" if depth > _DEEPEST else f"{_shown(card)}, not a JSON object"
        raise ValueError(f"{source}: its model card is {what}")
    for key, (good, what) in _KNOWN.items():
        if key in card and not good(card[key]):
            raise ValueError(f"{source}: its model card has {_shown(card[key])} as `{key}`, which must be {what}")
    for key in ("data", "step"):
        if "run" in card and key not in card:
            raise ValueError(f"{source}: its model card has a `run`, but no `{key}`")
    return card


def _depth(value, limit):
    """How deep lists and objects are nested, or `limit` + 1 where that is more."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(one, limit - 1) for one in inner), default=0) if limit > 0 else 1


def _shown(value):
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
