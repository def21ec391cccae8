"""The file of scores: one JSON object a line, each with all that the number depends on."""

import json
from pathlib import Path

import mindbyol
from mindbyol.files import check_replaceable, replacing


def check_file(path):
    """Before an hour of scoring: can scores be added to this file?

    Args:
        path (str): The file; it need not exist.

    Returns:
        list[str]: The lines that it has.

    Raises:
        OSError: It cannot be read or written.
        ValueError: It holds something else than scores.
    """
    path = Path(path)
    try:
        check_replaceable(path)
    except OSError as error:
        raise OSError(f"results: {error}") from error
    if not path.exists():
        return []
    try:
        lines = path.read_text().splitlines()
        good = all("score" in json.loads(line) for line in lines)
    except (ValueError, TypeError):
        good = False
    if not good:
        raise ValueError(f"results: '{path}' holds something else than scores, a JSON object a line; name a new file")
    return lines


def add(path, records):
    """Adds scores to a file, which is whole at every moment.

    Args:
        path (str): The file.
        records (list[dict]): As of `record`.
    """
    lines = check_file(path) + [json.dumps(record) for record in records]
    with replacing(Path(path)) as beside:
        beside.write_text("\n".join(lines) + "\n")


def record(recipe, subject, sources, name, value):
    """One score and what it depends on.

    Args:
        recipe (Recipe): Of the task that gave it.
        subject (Scored): What was scored.
        sources (dict[str, Source]): The images, by their role; those that were scored are the last.
        name (str): Of the score.
        value (float): The score.

    Returns:
        dict: JSON-serialisable.
    """
    scored = list(sources.values())[-1]
    card = subject.card.to_dict() if subject.card else None
    if card:
        card.pop("run", None)
    return {
        "task": recipe.task,
        "recipe": Path(recipe.config).name if recipe.config else None,
        "score": name,
        "value": value,
        "features": subject.name,
        "split": scored.description,
        "images": len(scored),
        "data": {role: source.description for role, source in sources.items()},
        "settings": recipe.that_change_results(),
        "ckpt_path": subject.path,
        "weights": subject.digest,
        "card": card,
        "mindbyol": mindbyol.__version__,
    }
