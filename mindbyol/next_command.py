"""What to type next: a command line that works, started as the user started this process."""

import shlex
import sys
from pathlib import Path


def typed(command, *arguments):
    """A command line, quoted for a shell.

    Who started a file of the repository gets another file of it, everybody else an installed command.

    Args:
        command (str): `train`, `validate` or a name of `commands.COMMANDS`.
        *arguments (object): Flags and their values, as texts, paths or numbers.

    Returns:
        str: Such as `python scripts/embed.py --data_dir 'my photos'`.
    """
    return shlex.join([*_program(command), *map(str, arguments)])


def _program(command):
    direct = command in ("train", "validate")
    started = Path(sys.argv[0])
    for folder in (started.parent, started.parent.parent):
        file = folder / (f"{command}.py" if direct else f"scripts/{command}.py")
        if started.suffix == ".py" and file.is_file():
            return "python", str(file)
    return (f"mindbyol-{command}",) if direct else ("mindbyol", command)


def scoring(recipe, checkpoint, **keys):
    """The command line that scores a checkpoint of a run by the run's own recipe.

    Args:
        recipe (Recipe): Of the run.
        checkpoint (Path): The file, beside the run's `config.yaml`.
        **keys: Values over those of the recipe.
    """
    if recipe.distribute:
        keys["distribute"] = False  # one process, which nobody has to launch
    flags = [text for key, value in keys.items() for text in (f"--{key}", value)]
    return typed("validate", "--config", checkpoint.with_name("config.yaml"), "--ckpt_path", checkpoint, *flags)


def embedding(recipe, checkpoint, output):
    """The command line that writes the features of all images of a recipe's folder.

    Args:
        recipe (Recipe): Names the folder.
        checkpoint (Path): The weights.
        output (Path): File for the features.
    """
    device = ("--device_target", recipe.device_target) if recipe.device_target else ()
    return typed("embed", "--ckpt_path", checkpoint, "--data_dir", recipe.data_dir, "-o", output, *device)
