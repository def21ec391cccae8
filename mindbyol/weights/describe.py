"""What a weights file is and holds, in lines for people."""

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
    lines += [_printable(f"card: {key}: {value}") for key, value in sorted(weights.card.to_dict().items())]
    for part in layouts.PARTS:
        arrays = weights.part(part)
        if arrays:
            learned = sum(a.size for name, a in arrays.items() if not name.rpartition(".")[2].startswith("moving_"))
            lines.append(f"{layouts.TITLES[part]}: {learned:,} parameters, sha256 {checkpoint.digest(arrays)}")
    return lines


def _printable(line):
    """As it is, or escaped where it would move the cursor or forge other lines."""
    return line if line.isprintable() else ascii(line)[1:-1]
