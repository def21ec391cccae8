"""The recipe keys that each view takes numbers of its own for: defaults, bounds, help, and what a view makes of them.

A field of `ViewRecipe` is such a key. Flags, recipes, checks and help all follow from the fields.
"""

import argparse
from dataclasses import dataclass, field, fields
from typing import Callable, NamedTuple

import numpy as np

from mindbyol.config.values import FRACTION, number


class PerView(NamedTuple):
    """What a key takes: its numbers once for both views, or twice, those of view 1 and then those of view 2.

    Attributes:
        default (tuple): The numbers of the paper (BYOL, table 6), once or twice.
        numbers (int): How many numbers one view takes.
        parse (Callable): From the text of a number to the number; ArgumentTypeError if it is out of bounds.
        help (str): What the numbers are, with unit and range.
    """

    default: tuple
    numbers: int
    parse: Callable
    help: str


def _key(default, numbers, parse, help):
    return field(metadata={"per_view": PerView(default, numbers, parse, help)})


@dataclass(frozen=True)
class ViewRecipe:
    """What may happen to one view. A key of one number is that number, others are tuples of their numbers.

    Raises:
        ValueError: A range ends before it begins, or the hue turns by more than half a circle.
    """

    scale: tuple = _key(
        (0.08, 1.0),
        2,
        number(float, 0, 1, above=0),
        "share of the image's area that a view is cut from: smallest and largest, above 0 and up to 1",
    )
    ratio: tuple = _key(
        (3 / 4, 4 / 3),
        2,
        number(float, 0.01, 100),
        "width divided by height of what is cut out: smallest and largest, 0.01 to 100",
    )
    hflip: float = _key((0.5,), 1, FRACTION, "probability of mirroring a view left to right, 0 to 1")
    color_jitter: tuple = _key(
        (0.4, 0.4, 0.2, 0.1),
        4,
        number(float, 0, 10, why="1 goes from black to white"),
        "largest change of brightness, contrast and saturation, each a share of 0 to 10, and of the hue, in turns of "
        "the colour circle, 0 to 0.5",
    )
    color_jitter_prob: float = _key((0.8,), 1, FRACTION, "probability of changing the colours of a view, 0 to 1")
    grayscale_prob: float = _key((0.2,), 1, FRACTION, "probability of taking the colour out of a view, 0 to 1")
    blur_prob: float = _key((1.0, 0.1), 1, FRACTION, "probability of blurring a view, 0 to 1")
    blur_sigma: tuple = _key(
        (0.1, 2.0),
        2,
        number(float, 0.01, 1000),
        "standard deviation of the Gaussian blur in pixels: smallest and largest, 0.01 to 1000",
    )
    solarize_prob: float = _key((0.0, 0.2), 1, FRACTION, "probability of inverting the bright values of a view, 0 to 1")
    solarize_threshold: int = _key(
        (128,), 1, number(int, 0, 256), "value from which on solarizing inverts, 0 to 256, of pixels of 0 to 255"
    )

    def __post_init__(self):
        for key in ("scale", "ratio", "blur_sigma"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key}: {low:g} is above {high:g}; write the smaller number first")
        if self.color_jitter[3] > 0.5:
            raise ValueError(f"color_jitter: the hue {self.color_jitter[3]:g} is above 0.5, half a turn; lower it")


PER_VIEW = {key.name: key.metadata["per_view"] for key in fields(ViewRecipe)}


def view_recipes(given):
    """Checks the numbers of the keys, and splits them into those of the two views.

    Args:
        given (dict): Keys of `PER_VIEW`: a number, or a sequence of as many as one view takes, or twice as many. The
            others have their defaults.

    Returns:
        tuple[ViewRecipe, ViewRecipe]: Of view 1 and of view 2.

    Raises:
        TypeError: There is no such key.
        ValueError: A number is out of bounds, or there are too few or too many.
    """
    unknown = sorted(set(given) - set(PER_VIEW))
    if unknown:
        raise TypeError(f"{unknown[0]}: no key of a view; choose from {', '.join(PER_VIEW)}")
    both = {key: _of_both(key, given.get(key, per_view.default)) for key, per_view in PER_VIEW.items()}
    return tuple(ViewRecipe(**{key: views[view] for key, views in both.items()}) for view in range(2))


def _of_both(key, value):
    """What view 1 and view 2 take."""
    numbers = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
    count = PER_VIEW[key].numbers
    if len(numbers) not in (count, 2 * count):
        raise ValueError(f"{key}: takes {count} or, one set a view, {2 * count} numbers, not {len(numbers)}")
    try:
        numbers = [PER_VIEW[key].parse(str(one)) for one in numbers]
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{key}: {error}") from None
    if count == 1:
        return numbers[0], numbers[-1]
    return tuple(numbers[:count]), tuple(numbers[-count:])
