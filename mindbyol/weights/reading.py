"""Reads weights of any known project into mindbyol's names, and proves what was loaded."""

import re
from dataclasses import dataclass, field

import numpy as np

from mindbyol import checkpoint
from mindbyol.model_card import Card
from mindbyol.weights import layouts
from mindbyol.weights.files import open_weights, read_float32
from mindbyol.weights.matching import expected_backbone, match
from mindbyol.weights.provenance import describe_source, make_card
from mindbyol.weights.tensors import in_memory

# Of the entries that do not fit, so many are shown in a report and in the one line of an error.
_SHOWN, _SHOWN_IN_ERRORS = 12, 3
_ADVICE = "convert it with convert_checkpoint.py --allow-unmatched, which leaves out what does not match"


@dataclass
class Weights:
    """Weights under mindbyol's names.

    Attributes:
        arrays (dict): Name to float32 array; names begin with one of `layouts.PARTS`.
        card (Card): Model, stem and padding always; normalisation and the rest as far as the file tells.
        found (str): What the file is: "mmselfsup 1.x, full checkpoint, epoch 200".
        report (list[str]): One line a part: what was loaded, missing, unexpected.
        mindcv_names (dict): As of `create_backbone`: where MindCV's checkpoints name the backbone's arrays otherwise.
    """

    arrays: dict
    card: Card
    found: str
    report: list
    mindcv_names: dict = field(default_factory=dict)

    def part(self, prefix):
        """The arrays whose names start with `prefix`, without it."""
        return {name[len(prefix) :]: array for name, array in self.arrays.items() if name.startswith(prefix)}


def read_weights(path, family="auto", model=None, padding=None, allow_unmatched=False):
    """Reads a checkpoint of any known project.

    Args:
        path (str): The file; its kind is found from its content.
        family (str): `auto`, or the project that must have written it (`layouts.FAMILIES`).
        model (str): MindCV's name of the network; needed where neither a model card nor the weights, which those of
            ResNets do, tell it.
        padding (str): `mindcv`, `torch` or `same`, over what the family says. For weights that were converted from one
            project to the other before they came here.
        allow_unmatched (bool): Leave out what does not fit instead of failing.

    Returns:
        Weights: The arrays, the card and the report.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read, is not of the family or model named, holds values that are not finite, or
            (unless allowed) lacks entries, has too many, or has some of another shape.
    """
    return read_contents(open_weights(path), family, model, padding, allow_unmatched)


def read_contents(contents, family="auto", model=None, padding=None, allow_unmatched=False):
    """As `read_weights`, of a file that `open_weights` has opened."""
    try:
        return _read(contents, family, model, padding, allow_unmatched)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(contents.path) else f"{contents.path}: {text}") from None


def _read(contents, family, model, padding, allow_unmatched):
    tensors = _without_wrapper(contents.tensors)
    layout = layouts.detect(tensors, family)
    parts, counters, unknown = _split(tensors, layout)
    if layouts.ONLINE not in parts:
        raise ValueError(f"{layout.title}, but it has no online backbone; name a checkpoint that has")
    found = describe_source(contents, layout, parts)
    card = make_card(contents, found, layout, parts[layouts.ONLINE], model, padding)
    if layout.family == "solo-learn" and card.stem == "small" and not allow_unmatched:
        raise ValueError(
            f"{found}: solo-learn pads the first convolution for small images by 2, mindbyol by 1, so features would "
            f"differ at the borders; to train on from it, {_ADVICE}"
        )

    backbone = expected_backbone(card)
    for part in parts.keys() & set(layouts.BACKBONES):
        parts[part] = checkpoint.from_mindcv(parts[part], backbone.mindcv_names)
    report = _leave_out_classifier(parts, backbone.dropped) if layout.family == "mindcv" else []
    matches = [match(part, parts, backbone) for part in layouts.PARTS if part in parts]
    report += [of_part.line(counters[of_part.part]) for of_part in matches]
    problems = [f"unexpected: {name}" for name in unknown]
    problems += [line for of_part in matches for line in of_part.problems()]
    if problems and not allow_unmatched:
        counts = [of_part.line(0) for of_part in matches if of_part.problems()]
        shown = _first(problems, _SHOWN_IN_ERRORS)
        raise ValueError(f"{found}: not everything matches: {'; '.join([*counts, *shown, _ADVICE])}")
    absent = [title for part, title in layouts.TITLES.items() if part not in parts]
    report += [f"not in the file: {', '.join(absent)}"] if absent else []
    report += [f"left out: {line}" for line in _first(problems, _SHOWN)]
    tensors = {of_part.part + name: of_part.found[name] for of_part in matches for name in of_part.fitting}
    _fill_biases(tensors, report)
    arrays = {name: read_float32(tensor, name) for name, tensor in tensors.items()}
    checkpoint.check_finite(arrays, contents.path)
    return Weights(arrays, card, found, report, backbone.mindcv_names)


def _first(lines, count):
    """The first lines, and how many more there are."""
    return lines[:count] + ([f"and {len(lines) - count} more"] if len(lines) > count else [])


def _without_wrapper(tensors):
    """Drops what PyTorch adds to names: `_orig_mod.` of torch.compile, and DataParallel's `module.` before them all."""
    names = {name: re.sub(r"(^|(?<=\.))_orig_mod\.", "", name) for name in tensors}
    if all(name.startswith("module.") for name in names.values()):
        names = {name: shorter[len("module.") :] for name, shorter in names.items()}
    twice = next((name for name, shorter in names.items() if name != shorter and shorter in tensors), None)
    if twice:
        raise ValueError(f"{twice} and {names[twice]} are two entries for one parameter; save one of them")
    return {names[name]: tensor for name, tensor in tensors.items()}


def _split(tensors, layout):
    """Sorts a file's tensors into parts under our names.

    Returns:
        tuple: {part: {our name: StoredTensor}}, {part: number of batch counters}, names that belong nowhere.
    """
    prefixes = {**layout.prefixes, **dict.fromkeys(layout.ignored), **dict.fromkeys(layout.twins)}
    by_part, unknown = {}, []
    for name, tensor in tensors.items():
        prefix, rest = layouts.split(name, prefixes)
        if prefix in layout.twins:
            first = tensors.get(layout.twins[prefix] + rest)
            if first is None or not np.array_equal(first.read(), tensor.read()):
                raise ValueError(
                    f"{layout.title}: {name} and {layout.twins[prefix]}{rest} should be one tensor and differ: "
                    "which is online cannot be told; save one of them"
                )
        elif prefix is None:
            unknown.append(name)
        elif prefixes[prefix] is not None:
            by_part.setdefault(prefixes[prefix], {})[rest] = tensor
    parts, counters = {}, {}
    for part, found in by_part.items():
        names = layouts.TRANSLATIONS[layout.names](part, found)
        counters[part] = sum(ours is None for ours in names.values())
        parts[part] = {ours: found[name] for name, ours in names.items() if ours is not None}
        if layout.names == "haiku":
            parts[part] = {name: layouts.from_haiku_tensor(tensor, name) for name, tensor in parts[part].items()}
    return parts, counters, unknown


def _leave_out_classifier(parts, dropped):
    """Takes out a classifier that is no single linear layer, or has another name than that; a line about it."""
    names = [name for name in parts[layouts.ONLINE] if name.split(".")[0] in dropped]
    for name in names:
        del parts[layouts.ONLINE][name]
    if not parts.get(layouts.PROBE, {}).keys() <= {"weight", "bias"}:
        names += [f"classifier.{name}" for name in parts.pop(layouts.PROBE)]
    return [f"the classifier is left out: {', '.join(names)}"] if names else []


def _fill_biases(arrays, report):
    """Gives heads whose first layer has no bias one of zeros, which is the same function."""
    for part in layouts.HEADS:
        weight = arrays.get(part + "fc0.weight")
        if weight is not None and part + "fc0.bias" not in arrays:
            arrays[part + "fc0.bias"] = in_memory(np.zeros(weight.shape[0], np.float32))
            report.append(f"{layouts.TITLES[part]}: its first layer has no bias; zeros stand for it")
