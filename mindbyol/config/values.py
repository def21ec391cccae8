"""From the text of a flag or a recipe key to its value, within bounds. Needs none of the packages."""

import argparse
import re

from mindbyol.command import cut, quoted

LARGEST_FLOAT, _SMALLEST = 3.4e38, 1.2e-38  # what the graph computes in is float32
LARGEST_INT = 2**31 - 1  # what it counts in is int32

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(nan|inf)", re.IGNORECASE)


def boolean(text):
    """yes/no, true/false, on/off, 1/0, as MindCV's recipes write them."""
    if text.lower() in ("yes", "true", "on", "y", "t", "1"):
        return True
    if text.lower() in ("no", "false", "off", "n", "f", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{quoted(text)} is neither true nor false")


COLOURS = {"white": (255, 255, 255), "gray": (128, 128, 128), "black": (0, 0, 0)}


def colour(text):
    """A name of `COLOURS`, or red, green and blue, 0 to 255: `255,128,0`; those of a named colour become its name."""
    name = text.strip().lower()
    if name in COLOURS:
        return name
    parts = [part.strip() for part in name.split(",")]
    if len(parts) != 3 or not all(_WHOLE.fullmatch(part) and len(part) < 4 and 0 <= int(part) <= 255 for part in parts):
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is no colour: {', '.join(COLOURS)}, or red, green and blue of 0 to 255, such as 255,128,0"
        )
    value = tuple(map(int, parts))
    return next((name for name, known in COLOURS.items() if known == value), "{},{},{}".format(*value))


def rgb(text):
    """Red, green and blue, 0 to 255, of what `colour` gives."""
    return COLOURS.get(text) or tuple(map(int, text.split(",")))


def number(kind, minimum=None, maximum=None, above=None, below=None, why=None):
    """A parser for an int or float within bounds.

    Only plain decimal digits are a number: other notations mean one number to Python and another to YAML (`010`,
    `1:30`), or hide a slip (`1_6`).

    Args:
        kind (type): int or float.
        minimum, maximum (float): Bounds that are allowed themselves.
        above, below (float): Bounds that are not.
        why (str): The reason of the bounds, for the message.

    Returns:
        Callable[[str], number]: Raises ArgumentTypeError.
    """
    reason = f" ({why})" if why else ""

    def parse(text):
        if not (_WHOLE if kind is int else _REAL).fullmatch(text.strip()):
            name = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{quoted(text)} is not a {name} in plain digits")
        shown = cut(text)
        if kind is int and len(text) > 40:
            raise argparse.ArgumentTypeError(f"{shown} is far too large")
        value = kind(text)
        if not abs(value) <= LARGEST_FLOAT:
            raise argparse.ArgumentTypeError(f"{shown} is not a finite float32")
        if kind is float and 0 < abs(value) < _SMALLEST:
            raise argparse.ArgumentTypeError(f"{shown} is too small for a float32; is 0 meant?")
        if above is not None and value <= above:
            raise argparse.ArgumentTypeError(f"{shown} is not above {above}{reason}")
        if below is not None and value >= below:
            raise argparse.ArgumentTypeError(f"{shown} is not below {below}{reason}")
        if minimum is not None and value < minimum:
            raise argparse.ArgumentTypeError(f"{shown} is below {minimum}{reason}")
        if maximum is not None and value > maximum:
            raise argparse.ArgumentTypeError(f"{shown} is above {maximum}{reason}")
        return value

    return parse


COUNT = number(int, 1, LARGEST_INT, why="counts go from 1 to what int32 holds")
POSITIVE = number(float, above=0)
NOT_NEGATIVE = number(float, minimum=0)
FRACTION = number(float, minimum=0, maximum=1)
WORKERS = number(int, 1, 256, why="more workers than cores gain nothing")
IMAGE_SIZE = number(int, 8, 4096, why="the side of an image, in pixels")
