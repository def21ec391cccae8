"""What is said and asked of values that a file brings along: nobody knows how large or how deep they are."""

import math
from dataclasses import dataclass

_SHOWN = 80  # characters of a text in a message
_LONGEST_KEY = 4096
_LARGEST_INT = 2**61 - 1  # from here on Python's hash folds integers onto each other


class Refused(ValueError):
    """A pickle holds something that is no tensor, container or scalar, or more than a checkpoint needs."""


@dataclass(frozen=True)
class Global:
    """A name that the pickle refers to; it stays a name."""

    module: str
    name: str

    def __str__(self):
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, eq=False)
class Opaque:
    """Stands for an object of another library; only its name is known."""

    name: str

    def __str__(self):
        return self.name


def require(condition, what, *values):
    """Refuses a pickle unless `condition` holds.

    Args:
        condition: Anything; its truth counts.
        what (str): What the pickle contains otherwise, with one {} for each of the `values`.
        values: Shown by `brief`, and only when the pickle is refused.

    Raises:
        Refused: The condition does not hold.
    """
    if not condition:
        raise Refused(what.format(*(brief(value) for value in values)))


def brief(value):
    """A few printable words about any value; containers are not looked into, except for a shape."""
    if isinstance(value, Global):
        return shown(value)
    if isinstance(value, Opaque):
        return f"an object of {shown(value)}"
    if isinstance(value, str):
        return f"'{shown(value)}'"
    if value is None or isinstance(value, (bool, float)) or is_int(value):
        return repr(value)
    if isinstance(value, tuple) and len(value) <= 8 and all(is_int(n) for n in value):
        return repr(value)
    return "a huge integer" if isinstance(value, int) else f"a {type(value).__name__}"


def shown(text):
    """A text for a message: control characters escaped, and only its beginning."""
    text = str(text)
    start = text[:_SHOWN].encode("unicode_escape").decode()
    return start + ("..." if len(text) > _SHOWN else "")


def is_int(value):
    """Whether a value is an integer (no bool) of a size that checkpoints have."""
    return isinstance(value, int) and not isinstance(value, bool) and -_LARGEST_INT < value < _LARGEST_INT


def is_scalar(value):
    """Whether a value is text, a number, bytes, None or a name: it takes no longer to compare than to read."""
    if isinstance(value, (str, bytes)):
        return len(value) <= _LONGEST_KEY
    if isinstance(value, float):
        return not math.isnan(value)
    return value is None or isinstance(value, (bool, Global, Opaque)) or is_int(value)
