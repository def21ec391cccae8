"""A recipe: the values of all keys of a task, parsed once from defaults, YAML file and command line, then frozen."""

import argparse
import logging
import os
from types import MappingProxyType

from mindbyol import tasks
from mindbyol.command import Parser, cut
from mindbyol.config.keys import Changes, plain
from mindbyol.config.recipe_file import convert, nearest, read_recipe

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
        config (str): Path of the recipe file; None without one.
    """

    def __init__(self, task, values, keys, own, given=(), config=None):
        frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        vars(self).update(
            task=task,
            values=MappingProxyType(frozen),
            keys=MappingProxyType(keys),
            own=tuple(own),
            given=frozenset(given),
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
    files = read_recipe(asked.config[0]) if asked.config else []
    in_file = tasks.OF_RECIPES if files else None
    for path, texts in files:
        if "task" in texts:
            in_file = tasks.check_name(texts.pop("task"), f"{path}: task")
    task = tasks.choose(asked.task, in_file, command)
    of = [one for one in dict.fromkeys((task, asked.task, in_file)) if one]  # whose keys the recipe may have
    groups = tasks.groups(of)
    keys = {key.name: key for group in groups for key in group.keys}

    flags, unknown = _parser(task, groups, command).parse_known_args(
        argv, argparse.Namespace(**dict.fromkeys(keys, _NOT_GIVEN))
    )
    if unknown:
        flag = unknown[0].split("=")[0]
        raise ValueError(f"{cut(unknown[0])}: no such flag{nearest(flag.lstrip('-'), keys, '--')}")
    given = {}
    for path, texts in files:
        given.update(convert(path, texts, keys))
    given.update({name: value for name, value in vars(flags).items() if name in keys and value is not _NOT_GIVEN})
    values = {**{name: key.default for name, key in keys.items()}, **_from_card(given, keys), **given}
    own = [key.name for group in tasks.load(task).KEYS for key in group.keys]
    recipe = Recipe(task, values, keys, own, given, asked.config[0] if asked.config else None)
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


def _parser(task, groups, command):
    parser = _first_parser(
        description=f"These are the keys of the task `{task}`: {tasks.describe(task)} `--task TASK --help` shows those "
        "of another one. A flag goes over the recipe, the recipe over the default."
    )
    for group in groups:
        shown = parser.add_argument_group(group.title, group.description)
        for key in group.keys:
            key.add_to(shown)
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
