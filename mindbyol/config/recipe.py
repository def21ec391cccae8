"""A recipe: the values of all keys of a task, parsed once from defaults, YAML file and command line, then frozen."""

import argparse
import logging
import os
from types import MappingProxyType

from mindbyol import tasks
from mindbyol.command import Parser, cut
from mindbyol.config.keys import Changes, plain
from mindbyol.config.other_words import nearest
from mindbyol.config.recipe_file import convert, read_recipe, recipe_text

logger = logging.getLogger(__name__)

_NOT_GIVEN = object()
# What a model card says that a recipe has keys for.
_OF_CARDS = ("model", "stem", "padding", "stages", "image_resize", "mean", "std", "background")


class Recipe:
    """Values as attributes: `recipe.batch_size`. Nothing can be assigned.

    Attributes:
        task (str): What is done with them; see `tasks.TASKS`.
        values (mapping): Value by key; lists are tuples.
        keys (mapping): `Key` by name: those of the task, and of the task that the recipe file is for.
        own (tuple[str]): Names of those of the task itself.
        given (frozenset[str]): The keys that the file or the command line gave.
        asked (frozenset[str]): Of those the ones that the command line gave, or that are not as they are by default. A
            run's config.yaml gives every key, also those that nobody has asked for.
        config (str): Path of the recipe file; None without one.
    """

    def __init__(self, task, values, keys, own, given=(), asked=(), config=None):
        frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        vars(self).update(
            task=task,
            values=MappingProxyType(frozen),
            keys=MappingProxyType(keys),
            own=tuple(own),
            given=frozenset(given),
            asked=frozenset(asked),
            config=config,
        )

    def __getattr__(self, name):
        try:
            return vars(self)["values"][name]
        except KeyError:
            raise AttributeError(f"the recipe of task {vars(self).get('task')} has no key '{name}'") from None

    def __setattr__(self, name, value):
        raise AttributeError(f"{name}: a recipe does not change; what comes out of weights or data is returned")

    def plain(self):
        """Task and values as YAML and JSON hold them: lists in the place of tuples."""
        return {"task": self.task, **{name: plain(value) for name, value in self.values.items()}}

    def text(self, without=()):
        """A recipe file that gives these values again: the keys of its task, but for those of these names."""
        values = {name: plain(value) for name, value in self.values.items() if name not in without}
        return recipe_text(self.task, values, tasks.groups([self.task]))

    def that_change_results(self):
        """The part of `plain` that another result of this task would come from."""
        changing = (name for name in self.own if self.keys[name].changes is Changes.RESULTS)
        return {name: plain(self.values[name]) for name in changing}


def parse_args(argv=None, command="train"):
    """Reads the command line and the recipe it names, and checks all that can be checked without the data.

    Args:
        argv (list[str]): Arguments; those of the process by default.
        command (str): `train` or `validate`: what the recipe is for.

    Returns:
        Recipe: One value a key of its task; command line before recipe before its base before the model card of the
        weights that it names, if it does, before defaults.

    Raises:
        OSError: A recipe is not there or cannot be read.
        ValueError: An unknown task, key or flag, or a value of the wrong type, sign, size, length or choice; the
            message names it.
    """
    first = _first_parser(add_help=False)
    asked, _ = first.parse_known_args(argv)
    if len(asked.config) > 1:
        raise ValueError(f"--config: given {len(asked.config)} times; a run has one recipe, and flags go over it")

    def flags(task, groups, own, keys):
        parser = _parser(task, groups, own, command)
        found, unknown = parser.parse_known_args(argv, argparse.Namespace(**dict.fromkeys(keys, _NOT_GIVEN)))
        if unknown:
            flag = unknown[0].split("=")[0]
            raise ValueError(f"{cut(unknown[0])}: no such flag{nearest(flag.lstrip('-'), keys, '--')}")
        return {name: value for name, value in vars(found).items() if name in keys and value is not _NOT_GIVEN}

    return _resolve(asked.config[0] if asked.config else None, asked.task, command, flags)


def recipe_from(values, config=None, command="train", where="recipe"):
    """The recipe of a program, which has values in the place of flags: the same keys, checks and precedence.

    Args:
        values (dict[str, object]): By key, also `task`: texts, numbers, booleans, paths, and lists or tuples of them.
        config (Path): A recipe file beneath the values; None for none.
        command (str): As of `parse_args`.
        where (str): What messages call the place of the values.

    Returns:
        Recipe: As of `parse_args`.

    Raises:
        OSError, ValueError: As of `parse_args`.
    """
    texts = {name: _as_in_a_file(value) for name, value in values.items()}
    task = texts.pop("task", None)
    return _resolve(
        None if config is None else os.fspath(config),
        task,
        command,
        lambda _task, _groups, _own, keys: convert(where, texts, keys),
    )


def _as_in_a_file(value):
    """A value as `recipe_file.read_recipe` would give it: lists, booleans, None and texts."""
    if isinstance(value, (list, tuple)):
        return [_as_in_a_file(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _resolve(config, task, command, over):
    """The recipe of a file and what goes over it.

    Args:
        config (str): The file; None without one.
        task (str): What is asked for; None for what the file, or the command, says.
        command (str): `train` or `validate`.
        over (Callable[[str, list[Group], list[str], dict], dict]): From the task, the groups, the names of the task's
            own keys, and all keys by name to the values that go over the file's.
    """
    files = read_recipe(config) if config else []
    in_file = tasks.OF_RECIPES if files else None
    for path, texts in files:
        if "task" in texts:
            in_file = tasks.check_name(texts.pop("task"), f"{path}: task")
    chosen = tasks.choose(task, in_file, command)
    of = [one for one in dict.fromkeys((chosen, task, in_file)) if one]  # whose keys the recipe may have
    groups = tasks.groups(of)
    keys = {key.name: key for group in groups for key in group.keys}

    own = [key.name for group in tasks.load(chosen).KEYS for key in group.keys]
    given_over = over(chosen, groups, own, keys)
    given = {}
    for path, texts in files:
        given.update(convert(path, texts, keys))
    given.update(given_over)
    values = {**{name: key.default for name, key in keys.items()}, **_from_card(given, keys), **given}
    asked = [name for name, value in given.items() if name in given_over or value != keys[name].default]
    recipe = Recipe(chosen, values, keys, own, given, asked, config)
    for one in of:
        tasks.load(one).check(recipe)
    return recipe


def _from_card(given, keys):
    """What the weights that a recipe starts from, or scores, say of their network and images.

    Args:
        given (dict): What file and command line say, which counts more.
        keys (dict[str, Key]): The keys that there are.

    Returns:
        dict[str, object]: Value by key. Empty if there are no such weights, or they cannot be read: whoever opens them
        says why.

    Raises:
        ValueError: A value is out of the key's bounds.
    """
    path = given.get("pretrained_from") or given.get("ckpt_path")
    if path is None or not os.path.isfile(path):
        return {}
    from mindbyol.weights.files import read_card  # needs MindSpore, and imports the keys itself

    try:
        card = read_card(path)
    except ValueError:
        return {}
    said = {name: getattr(card, name) for name in _OF_CARDS if name in keys and name not in given}
    try:
        values = {name: keys[name].convert(plain(value)) for name, value in said.items() if value is not None}
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise ValueError(f"{path}: its model card: {error}") from None
    followed = [f"{name} {plain(value)}" for name, value in values.items() if value != keys[name].default]
    if followed:
        logger.info(f"{path}: {', '.join(followed)}, as it was trained; recipe and flags would go over that")
    return values


def _first_parser(**options):
    """What must be known before the keys are: recipe and task."""
    parser = Parser(
        usage="%(prog)s [-c RECIPE.yaml] [--task TASK] [--KEY VALUE ...]", formatter_class=_HelpFormatter, **options
    )
    parser.add_argument(
        "-c", "--config", action="append", default=[], metavar="RECIPE", help="YAML file with any of the keys below"
    )
    parser.add_argument("--task", metavar="TASK", help=f"what is done: {', '.join(tasks.TASKS)}")
    return parser


def _parser(task, groups, own, command):
    """Takes all keys of the groups, and shows those that mean something to this command of this task."""
    parser = _first_parser(
        description=f"These are the keys of the task `{task}`: {tasks.describe(task)} `--task TASK --help` shows those "
        "of another one. A flag goes over the recipe, the recipe over the default."
    )
    for group in groups:
        section = parser.add_argument_group(group.title, group.description)
        for key in group.keys:
            key.add_to(section, shown=key.name in own and not (command == "validate" and group.training_only))
    return parser


class _HelpFormatter(argparse.HelpFormatter):
    """Shows the default of a key that has one."""

    def _get_help_string(self, action):
        if action.default in (None, argparse.SUPPRESS, []) or action.nargs == 0:
            return action.help
        value = action.default
        shown = (
            " ".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in value)
            if isinstance(value, tuple)
            else str(value)
        )
        return f"{action.help} (default: {shown})"
