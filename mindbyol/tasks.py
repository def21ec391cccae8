"""The tasks: what a recipe's `task` can be, and the module that does it.

A module of a task has `KEYS`, a tuple of `config.keys.Group`, and `check(recipe)`, which raises a ValueError for what
can be wrong without the data. One that trains has `Training`, see `training.loop`; one that scores is a protocol, see
`evaluation.runner`, or has an `Evaluation` of its own.
"""

import importlib

from mindbyol.command import quoted

TASKS = {
    "byol": "mindbyol.pretraining",
    "knn": "mindbyol.evaluation.knn",
    "linear": "mindbyol.linear",
    "multihead": "mindbyol.multihead",
    "transfer": "mindbyol.evaluation.transfer",
    "svm": "mindbyol.evaluation.svm",
    "low_shot": "mindbyol.evaluation.low_shot",
    "suite": "mindbyol.evaluation.suite",
    "finetune": "mindbyol.finetuning",
    "segmentation": "mindbyol.segmentation.task",
    "detection": "mindbyol.detection.task",
    "compare": "mindbyol.evaluation.compare",
}
OF_RECIPES = "byol"  # the task of a recipe that names none
_DEFAULTS = {"train": "byol", "validate": "knn"}
# What scores the backbones that a task trains, where it does not do so itself.
_SCORED_BY = {"byol": "knn"}


def load(task):
    """The module of a task."""
    return importlib.import_module(TASKS[task])


def check_name(task, where):
    """The name of a task as it was given.

    Raises:
        ValueError: There is no such task; the message begins with `where`.
    """
    if task not in TASKS:
        raise ValueError(f"{where}: {quoted(str(task))} is none of {', '.join(TASKS)}")
    return task


def choose(flag, in_file, command):
    """The task to run.

    Args:
        flag (str): What --task says; None if it is not there.
        in_file (str): The task of the recipe; None if it names none.
        command (str): `train` or `validate`.

    Raises:
        ValueError: There is no such task, or the command is not for it.
    """
    task = check_name(flag, "--task") if flag else in_file or _DEFAULTS[command]
    if command == "validate":
        task = _SCORED_BY.get(task, task)
    module = load(task)
    if command == "train" and not hasattr(module, "Training"):
        raise ValueError(f"task: {task} has nothing to train; validate.py scores with it")
    if command == "validate" and not (hasattr(module, "run") or hasattr(module, "Evaluation")):
        raise ValueError(f"task: {task} scores nothing; train.py runs it")
    return task


def groups(names):
    """The groups of keys of some tasks: each key once.

    A recipe that trains a backbone also scores it, so what scores it brings its keys, too.
    """
    found, taken = [], set()
    for task in dict.fromkeys([*names, *(_SCORED_BY[name] for name in names if name in _SCORED_BY)]):
        for group in load(task).KEYS:
            keys = tuple(key for key in group.keys if key.name not in taken)
            taken.update(key.name for key in keys)
            if keys:
                found.append(group._replace(keys=keys))
    return found


def describe(task):
    """The first sentence of what a task's module says of itself."""
    return load(task).__doc__.split("\n")[0]
