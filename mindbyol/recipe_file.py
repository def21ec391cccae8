"""Recipes on disk: flat YAML, one key a flag, every value as the text that stands there."""

import argparse
import difflib
import os

import yaml

from mindbyol.command import has_control_characters, quoted
from mindbyol.values import boolean

_LARGEST = 64 * 1024  # bytes; a long recipe has 5,000
_DEEPEST = 3  # a mapping, a list, and in it a list a view
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "timestamp")}
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def read_recipe(path, parser, actions):
    """Reads a recipe.

    Scalars stay texts and go through the parser of their flag, so that a key and its flag accept the same, and neither
    YAML's octal numbers nor its minutes and seconds (`1:30` is 90) come between.

    Args:
        path (str): The file.
        parser (argparse.ArgumentParser): The parser of the flags.
        actions (dict[str, argparse.Action]): The flags that are keys, by key.

    Returns:
        dict[str, object]: Values by key.

    Raises:
        OSError: The file is not there, cannot be read, or is no regular file.
        ValueError: It is no flat YAML mapping of a recipe's size, names a key twice or one that is unknown, or a value
            is not what its flag takes. Messages name file and key.
    """
    values = {}
    for key, value in _read_yaml(path).items():
        if key not in actions:
            raise ValueError(f"{path}: unknown key {quoted(key)}{nearest(key, actions)}")
        try:
            values[key] = _convert(parser, actions[key], value)
        except (argparse.ArgumentError, argparse.ArgumentTypeError, ValueError) as error:
            raise ValueError(f"{path}: {key}: {getattr(error, 'message', error)}") from None
    return values


def nearest(key, actions, prefix=""):
    """The end of a message about an unknown key: the one that it may have been meant for."""
    near = difflib.get_close_matches(key, actions, n=1, cutoff=0.5)
    return f"; nearest: {prefix}{near[0]}" if near else "; --help lists them all"


def _read_yaml(path):
    """The keys of the file and what stands there: texts, booleans, None, and lists of them."""
    text = _read(path)
    try:
        _check_shape(text)
        root = yaml.compose(text, yaml.SafeLoader)
        if root is None:
            return {}
        if not isinstance(root, yaml.MappingNode):
            raise ValueError("a recipe is lines of 'key: value'")
        recipe = {}
        for key, value in root.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {key.start_mark.line + 1}: a key is one word")
            if key.value in recipe:
                raise ValueError(f"{quoted(key.value)} stands there more than once")
            recipe[key.value] = _value(key.value, value)
        return recipe
    except (yaml.YAMLError, ValueError) as error:
        text = " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")  # yaml's name of what it reads
        raise ValueError(f"{path}: {text}") from None


def _read(path):
    if not os.path.exists(path):
        raise FileNotFoundError(f"--config: no recipe '{path}'")
    if not os.path.isfile(path):
        raise OSError(f"--config: '{path}' is no regular file")
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise OSError(f"--config: cannot read '{path}' ({error.strerror})") from None
    if len(data) > _LARGEST:
        raise ValueError(f"{path}: has more than {_LARGEST // 1024} kB: is it a recipe?")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start})") from None


def _check_shape(text):
    """Before anything recurses: how deep the file is, and that nothing in it refers to something else."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError(f"line {event.start_mark.line + 1}: no anchors and aliases (& and *): write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise ValueError(
                f"line {event.start_mark.line + 1}: nested too deep; a value is a text, a number or a list"
            )


def _value(key, node):
    if isinstance(node, yaml.MappingNode):
        raise ValueError(f"{key}: takes no keys of its own")
    if isinstance(node, yaml.SequenceNode):
        return [_value(key, item) for item in node.value]
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if node.tag == "tag:yaml.org,2002:bool":
        return _BOOLEANS.get(node.value.lower(), node.value)
    if has_control_characters(node.value):
        raise ValueError(f"{key}: {quoted(node.value)} holds a control character")
    if node.tag in _PLAIN:
        return node.value
    raise ValueError(f"{key}: {quoted(node.tag)} is no kind of value of a recipe")


def _convert(parser, action, value):
    """Passes a YAML value through the parser of its flag, so that a key and a flag accept the same."""
    if value is None:
        if action.default is not None:
            raise ValueError("has no value")
        return None
    if isinstance(value, bool) and action.nargs != "?" and action.type is not boolean:
        raise ValueError(f"takes no {value}")
    is_list = action.nargs not in (None, "?")
    if isinstance(value, list) and not is_list:
        raise ValueError("takes one value, not a list")
    items = _flatten(value) if is_list else [value]
    if not items or (isinstance(action.nargs, int) and len(items) != action.nargs):
        raise ValueError(f"takes {action.nargs if isinstance(action.nargs, int) else 'some'} values, not {len(items)}")
    items = [parser._get_value(action, item if isinstance(item, str) else repr(item)) for item in items]
    for item in items:
        parser._check_value(action, item)
    return items if is_list else items[0]


def _flatten(value):
    return [leaf for item in value for leaf in _flatten(item)] if isinstance(value, list) else [value]
