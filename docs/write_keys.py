"""Writes the page of all recipe keys: `python docs/write_keys.py` makes docs/keys.md from the keys themselves."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mindbyol import tasks  # noqa: E402
from mindbyol.config.keys import plain  # noqa: E402
from mindbyol.files import replacing  # noqa: E402

PAGE = Path(__file__).with_name("keys.md")
HEAD = """# Every key of a recipe

A key of a recipe and the flag of the same name are one: `base_lr: 0.3` in a recipe is `--base_lr 0.3` on the command
line and `base_lr=0.3` in `mindbyol.pretrain`. Command line goes over recipe, recipe over its `base`, `base` over the
default. `python train.py --task TASK --help` says the same in the terminal.

"Changes" says what another value changes: a run that goes on (`--resume`) must have the same *results* keys, and may
have others of *speed*, *paths* and *logs*.

This page is written by `python docs/write_keys.py`.
"""


def shown(value):
    """A default as one writes it."""
    if value is None:
        return ""
    value = plain(value)
    items = value if isinstance(value, list) else [value]
    return f"`{' '.join(f'{item:.6g}' if isinstance(item, float) else str(item) for item in items)}`"


def row(key):
    """The row of a key in a table."""
    choices = f" One of {', '.join(f'`{choice}`' for choice in key.choices)}." if key.choices else ""
    text = f"{key.help}.{choices}".replace("|", "\\|")
    return f"| `{key.name}` | {shown(key.default)} | {text} | {key.changes.value} |"


def page():
    """The text of the page: the groups of each task; one that another task has just so is named, not repeated."""
    lines, where = [HEAD], {}
    for task in tasks.TASKS:
        lines += [f"## {task}", "", tasks.describe(task), ""]
        for group in tasks.load(task).KEYS:
            rows = [row(key) for key in group.keys]
            same = where.setdefault((group.title, *rows), task)
            if same != task:
                lines += [f"**{group.title}**: as of [{same}](#{same}).", ""]
                continue
            lines += [f"**{group.title}**", ""]
            lines += [group.description, ""] if group.description else []
            lines += ["| key | default | what it does | changes |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def main():
    with replacing(PAGE) as beside:
        beside.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
