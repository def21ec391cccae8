"""Writes mindbyol's checkpoint of a checkpoint of any known project."""

from dataclasses import replace

from mindbyol import checkpoint
from mindbyol.files import check_output
from mindbyol.weights import layouts
from mindbyol.weights.reading import read_weights


def convert(source, output, family="auto", model=None, padding=None, allow_unmatched=False):
    """Reads a checkpoint of any known project and writes mindbyol's.

    Args:
        source, family, model, padding, allow_unmatched: As for `read_weights`.
        output (Path): File to write, ending in .ckpt. A backbone alone gets MindCV's names.

    Returns:
        list[str]: What was found, what was loaded, what was written.

    Raises:
        FileNotFoundError, ValueError: As `read_weights`; or the output cannot be written.
    """
    output = check_output(output, ".ckpt", source)
    weights = read_weights(source, family, model, padding, allow_unmatched)
    if not weights.part(layouts.ONLINE):
        raise ValueError(f"{source}: nothing in it fits the backbone of {weights.card.model}; is --model right?")
    only_backbone = all(name.startswith(layouts.ONLINE) for name in weights.arrays)
    card = replace(weights.card, kind="backbone" if only_backbone else "byol")
    arrays = weights.arrays
    if only_backbone:
        arrays = checkpoint.to_mindcv(weights.part(layouts.ONLINE), weights.mindcv_names)
    checkpoint.write(output, arrays, card)
    network = f"{card.model}, stem {card.stem}, padding {card.padding}"
    return [f"found {weights.found}", *weights.report, f"wrote {output} ({network})"]
