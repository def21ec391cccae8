"""Recipes on disk: flat YAML, one key a flag, every value as the text that stands there."""

import argparse
import os

import yaml

from mindbyol.command import has_control_characters, quoted
from mindbyol.config.other_words import nearest

_LARGEST = 64 * 1024  # bytes; a long recipe has 5,000
_DEEPEST = 3  # a mapping, a list, and in it a list a view
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "timestamp")}
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def read_recipe(path):
    """Reads the texts of a recipe, those of the recipe that its `base` names beneath them.

    Scalars stay texts and go through the parser of their key, so that a key and its flag accept the same, and neither
    YAML's octal numbers nor its minutes and seconds (`1:30` is 90) come between.

    Args:
        path (str): The file. `base: other.yaml` names a file in the same folder, or by a path from there; a base has
            no base itself.

    Returns:
        list[tuple[str, dict]]: The file and what stands in it, the base first: texts, booleans, None, lists of them.

    Raises:
        OSError: A file is not there, cannot be read, or is no regular file.
        ValueError: It is no flat YAML mapping of a recipe's size, or names a key twice. Messages name file and key.
    """
    texts = _read_yaml(path)
    if "base" not in texts:
        return [(path, texts)]
    base = texts.pop("base")
    if not isinstance(base, str) or not base:
        raise ValueError(f"{path}: base: takes the path of one recipe")
    base = os.path.join(os.path.dirname(path), base)
    if not os.path.exists(base):
        raise FileNotFoundError(f"{path}: base: no recipe '{base}'")
    beneath = _read_yaml(base)
    if "base" in beneath:
        raise ValueError(f"{path}: base: '{base}' has a base itself; name the last one, or write its keys out")
    return [(base, beneath), (path, texts)]


def convert(path, texts, keys):
    """The values of a recipe's texts.

    Args:
        path (str): The file, for messages.
        texts (dict): As `read_recipe` gives them.
        keys (dict[str, Key]): The keys that there are.

    Returns:
        dict[str, object]: Values by key.

    Raises:
        ValueError: A key is unknown, or a value is not what its flag takes. Messages name file and key.
    """
    values = {}
    for name, value in texts.items():
        if name not in keys:
            raise ValueError(f"{path}: unknown key {quoted(name)}{nearest(name, keys)}")
        try:
            values[name] = keys[name].convert(value)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise ValueError(f"{path}: {name}: {error}") from None
    return values


def recipe_text(task, values, groups):
    """A recipe as it is written down: grouped as in `--help`, under the groups' titles.

    Args:
        task (str): What its `task` says.
        values (dict): Value by key, as `keys.plain` has it.
        groups (list[Group]): The keys that are written, and their order.

    Returns:
        str: YAML that `read_recipe` reads.
    """
    blocks = [f"task: {task}\n"]
    for group in groups:
        lines = [_line(key.name, values[key.name]) for key in group.keys if key.name in values]
        if lines:
            blocks.append("".join([f"# {group.title.lower()}\n", *lines]))
    return "\n".join(blocks)


def _line(name, value):
    in_brackets = None if isinstance(value, list) else False
    return yaml.safe_dump({name: value}, default_flow_style=in_brackets, width=2**16)


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
