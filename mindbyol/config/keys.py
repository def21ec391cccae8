"""What a key of a recipe is: its name, default, parser and help, and whether another value gives other results."""

import argparse
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Callable, NamedTuple, Optional, Union

from mindbyol.command import quoted
from mindbyol.config.other_words import nearest_choice
from mindbyol.config.values import boolean


class Changes(Enum):
    """What another value of a key changes. A run that goes on compares those that change results."""

    RESULTS = "results"
    SPEED = "speed"
    PATHS = "paths"
    LOGS = "logs"


@dataclass(frozen=True)
class Key:
    """A key of a recipe, and the flag of the same name.

    Attributes:
        name (str): The key; the flag is `--name`.
        default (object): The value where neither recipe nor command line gives one; lists are tuples.
        type (Callable[[str], object]): From text to value; raises ArgumentTypeError.
        help (str): What it does, for someone who sees it for the first time.
        changes (Changes): What another value changes.
        choices (tuple): The values that there are; None for any that `type` takes.
        nargs (str or int): None for one value; "+" or a number for a tuple; "?" for a flag that may stand alone.
        const (object): What a flag that stands alone means.
    """

    name: str
    default: Any
    type: Callable = str
    help: str = ""
    changes: Changes = Changes.RESULTS
    choices: Optional[tuple] = None
    nargs: Union[str, int, None] = None
    const: Any = None

    def add_to(self, parser, shown=True):
        """Adds the flag to an argparse parser or group; one that is not shown is taken, but not in `--help`."""
        options = {
            "type": self.parse,
            "nargs": self.nargs,
            "const": self.const,
            "help": self.help if shown else argparse.SUPPRESS,
        }
        if self.choices:
            options["metavar"] = "{" + ",".join(map(str, self.choices)) + "}"
        given = {name: value for name, value in options.items() if value is not None}
        parser.add_argument(f"--{self.name}", default=self.default, **given)

    def parse(self, text):
        """One value from its text.

        Raises:
            ArgumentTypeError: It is none; the message does not name the key.
        """
        value = self.type(text)
        if self.choices and value not in self.choices:
            there = ", ".join(map(str, self.choices))
            raise argparse.ArgumentTypeError(f"{quoted(text)} is none of {there}{nearest_choice(text, self.choices)}")
        return value

    def convert(self, value):
        """The value from what stands in a recipe, so that a key and its flag accept the same.

        Args:
            value (str, bool, list or None): As YAML has it, numbers as the text that stands there.

        Raises:
            ArgumentTypeError, ValueError: It is not what the flag takes.
        """
        if value is None:
            if self.default is not None:
                raise ValueError("has no value; drop the key, or give one")
            return None
        if isinstance(value, bool) and self.nargs != "?" and self.type is not boolean:
            raise ValueError(f"takes no {value}")
        is_list = self.nargs not in (None, "?")
        if isinstance(value, list) and not is_list:
            raise ValueError("takes one value, not a list")
        items = _flatten(value) if is_list else [value]
        if not items or (isinstance(self.nargs, int) and len(items) != self.nargs):
            raise ValueError(f"takes {self.nargs if isinstance(self.nargs, int) else 'some'} values, not {len(items)}")
        values = [self.parse(item if isinstance(item, str) else repr(item)) for item in items]
        return tuple(values) if is_list else values[0]


class Group(NamedTuple):
    """Keys that stand together in `--help`.

    Attributes:
        title (str): Heading.
        keys (tuple[Key]): In the order in which they are shown.
        description (str): A sentence under the heading.
        training_only (bool): Whether it means nothing to validate.py.
    """

    title: str
    keys: tuple
    description: Optional[str] = None
    training_only: bool = False

    def with_defaults(self, **defaults):
        """The same keys with a task's own defaults.

        Args:
            **defaults: Value by key; lists are tuples.

        Raises:
            KeyError: There is no such key in the group.
        """
        self._check_known(defaults)
        keys = (replace(key, default=defaults[key.name]) if key.name in defaults else key for key in self.keys)
        return self._replace(keys=tuple(keys))

    def without(self, *names):
        """The group without the keys that mean nothing to a task.

        Raises:
            KeyError: There is no such key in the group.
        """
        self._check_known(names)
        return self._replace(keys=tuple(key for key in self.keys if key.name not in names))

    def only(self, *names):
        """The group with some of its keys.

        Raises:
            KeyError: There is no such key in the group.
        """
        self._check_known(names)
        return self._replace(keys=tuple(key for key in self.keys if key.name in names))

    def _check_known(self, names):
        unknown = set(names) - {key.name for key in self.keys}
        if unknown:
            raise KeyError(f"{self.title}: there is no key {', '.join(sorted(unknown))}")


def plain(value):
    """A value as YAML and JSON hold it: a list in the place of a tuple."""
    return list(value) if isinstance(value, tuple) else value


def path(text):
    """The path of a file or folder, which is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; was a variable not set?")
    return text


def _flatten(value):
    return [leaf for item in value for leaf in _flatten(item)] if isinstance(value, list) else [value]
