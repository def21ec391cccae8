"""What a weights file is and holds, in lines for people.

Keys of the card, and parts, are tables of two columns.
"""

import os

from mindbyol import checkpoint
from mindbyol.weights import layouts
from mindbyol.weights.files import open_weights
from mindbyol.weights.reading import read_contents


def describe(path, model=None):
    """Describes a file of any format that is read or written here; entries that do not match are listed, no error.

    Args:
        path (Path): The file.
        model (str): MindCV's name of the network, where it cannot be found from the file.

    Returns:
        list[str]: Kind and size, what matched, model card, and for each part its parameters and digest.

    Raises:
        FileNotFoundError, ValueError: The file cannot be read.
    """
    contents = open_weights(path)
    weights = read_contents(contents, model=model, allow_unmatched=True)
    lines = [f"{path}: {contents.container}, {os.path.getsize(path) / 1e6:.1f} MB", f"found {weights.found}"]
    lines += weights.report
    card = dict(_flat(weights.card.to_dict()))
    width = max((len(key) for key in card), default=0) + 2
    lines += [_printable(f"card: {key + ': ':<{width}}{value}") for key, value in card.items()]
    width = max(map(len, layouts.TITLES.values())) + 2  # the same for all files, so that lines can be compared
    parts = {layouts.TITLES[part]: weights.part(part) for part in layouts.PARTS}
    return lines + [f"{title + ': ':<{width}}{_size(arrays)}" for title, arrays in parts.items() if arrays]


def _size(arrays):
    learned = sum(a.size for name, a in arrays.items() if not name.rpartition(".")[2].startswith("moving_"))
    return f"{learned:>12,} parameters, sha256 {checkpoint.digest(arrays)}"


def _flat(card, before=""):
    """(key, value) of a JSON object, those of inner objects as `outer.inner`, sorted."""
    for key, value in sorted(card.items()):
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _printable(line):
    """As it is, or escaped where it would move the cursor or forge other lines."""
    return line if line.isprintable() else ascii(line)[1:-1]
