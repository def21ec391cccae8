"""Reads weights of any known project into mindbyol's names, and proves what was loaded."""

from dataclasses import dataclass

import numpy as np

import mindspore

from mindbyol import checkpoint
from mindbyol.weights import layouts
from mindbyol.weights.files import check_output, open_weights, read_float32
from mindbyol.weights.resnets import RESNETS, resnet_name, resnet_shapes
from mindbyol.weights.tensors import in_memory

import mindbyol  # isort: skip  (before MindSpore: it sets up the CPU)

IMAGENET_MEAN = [123.675, 116.28, 103.53]
IMAGENET_STD = [58.395, 57.12, 57.375]
TITLES = {
    layouts.ONLINE: "backbone",
    layouts.PROJECTOR: "projector",
    layouts.PREDICTOR: "predictor",
    layouts.TARGET: "target backbone",
    layouts.TARGET_PROJECTOR: "target projector",
    layouts.PROBE: "probe",
}


@dataclass
class Weights:
    """Weights under mindbyol's names.

    Attributes:
        arrays (dict): Name to float32 array; names begin with one of `layouts.PARTS`.
        card (dict): Model card: model, stem, padding, normalisation and what else the file told.
        found (str): What the file is: "mmselfsup 1.x, full checkpoint, epoch 200".
        report (list[str]): One line a part: what was loaded, missing, unexpected.
    """

    arrays: dict
    card: dict
    found: str
    report: list

    def part(self, prefix):
        """The arrays whose names start with `prefix`, without it."""
        return {name[len(prefix) :]: array for name, array in self.arrays.items() if name.startswith(prefix)}


def read_weights(path, family="auto", model=None, padding=None, allow_unmatched=False):
    """Reads a checkpoint of any known project.

    Args:
        path (str): The file; its kind is found from its content.
        family (str): `auto`, or the project that must have written it (`layouts.FAMILIES`).
        model (str): MindCV's name of the network; found from the weights of ResNets and from a model card.
        padding (str): `mindcv`, `torch` or `same`, over what the family says. For weights that were converted from one
            project to the other before they came here.
        allow_unmatched (bool): Leave out what does not fit instead of failing.

    Returns:
        Weights: The arrays, the card and the report.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read, is not of the family named, holds values that are not finite, or (unless
            allowed) lacks entries, has too many, or has some of another shape.
    """
    return convert_contents(open_weights(path), family, model, padding, allow_unmatched)


def convert_contents(contents, family="auto", model=None, padding=None, allow_unmatched=False):
    """As `read_weights`, of a file that `open_weights` has opened."""
    try:
        return _convert(contents, family, model, padding, allow_unmatched)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(contents.path) else f"{contents.path}: {text}") from None


def _convert(contents, family, model, padding, allow_unmatched):
    tensors = _without_wrapper(contents.tensors)
    layout = layouts.detect(tensors, family)
    parts, counters, unknown = _split(tensors, layout)
    if layouts.ONLINE not in parts:
        raise ValueError(f"{layout.title}, but it has no online backbone")
    found = _describe(contents, layout, parts)
    card = _card(contents, found, layout, parts[layouts.ONLINE], model, padding)
    if layout.family == "solo-learn" and card["stem"] == "small" and not allow_unmatched:
        raise ValueError(
            f"{found}: solo-learn pads the first convolution for small images by 2, mindbyol by 1, so features would "
            "differ at the borders; --allow-unmatched converts it all the same, to train on"
        )

    backbone = _backbone_shapes(card["model"], card["stem"], card.get("stages", 4))
    report, problems, arrays = [], [f"unexpected: {name}" for name in unknown], {}
    for part, title in TITLES.items():
        if part not in parts:
            continue
        expected = _expected_shapes(part, parts, backbone)
        wrong = _differences(part, parts[part], expected)
        missing, unexpected, misshapen = (sum(line.startswith(kind) for line in wrong) for kind in _PROBLEMS)
        report.append(
            f"{title} {len(expected) - missing - misshapen}/{len(expected)} loaded, "
            f"{missing} missing, {unexpected} unexpected"
            + (f", {misshapen} misshapen" if misshapen else "")
            + (f" ({counters[part]} counters not needed)" if counters[part] else "")
        )
        problems += wrong
        fitting = (name for name, shape in expected.items() if name in parts[part] and parts[part][name].shape == shape)
        arrays.update((part + name, parts[part][name]) for name in fitting)
    more = len(problems) - _SHOWN
    shown = problems[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])
    if problems and not allow_unmatched:
        raise ValueError("\n  ".join([f"{found}: not everything matches", *report, *shown, _ADVICE]))
    absent = [title for part, title in TITLES.items() if part not in parts]
    report += [f"not in the file: {', '.join(absent)}"] if absent else []
    report += [f"left out: {line}" for line in shown]
    _fill_biases(arrays, report)
    return Weights({name: _finite(name, tensor) for name, tensor in arrays.items()}, card, found, report)


_PROBLEMS = ("missing", "unexpected", "misshapen")
_SHOWN = 12
_ADVICE = "--allow-unmatched converts what matches and leaves out the rest"


def _without_wrapper(tensors):
    """Drops the `module.` that PyTorch's DataParallel puts before every name."""
    if all(name.startswith("module.") for name in tensors):
        return {name[len("module.") :]: tensor for name, tensor in tensors.items()}
    return tensors


def _split(tensors, layout):
    """Sorts a file's tensors into parts under our names.

    Returns:
        tuple: {part: {our name: Tensor}}, {part: number of batch counters}, names that belong nowhere.
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
                    "which is online cannot be told"
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


def _describe(contents, layout, parts):
    """What the file is, for people: "mmselfsup 1.x, full checkpoint, epoch 200"."""
    title, beside = layout.title, contents.beside
    meta = beside["meta"] if isinstance(beside.get("meta"), dict) else {}
    if title == "mmselfsup 1.x" and "mmpretrain" in str(meta.get("cfg", "")):
        title = "mmpretrain"
    if title == "torchvision" and isinstance(beside.get("author"), str):
        title = "mmselfsup, extracted backbone"
    if "mindbyol" in contents.card and "source" not in contents.card:
        title = "mindbyol"
    if layouts.TARGET in parts:
        kind = "full checkpoint"
    elif len(parts) > 1:
        kind = "backbone and " + ", ".join(TITLES[part] for part in parts if part != layouts.ONLINE)
    else:
        kind = "backbone"
    progress = _progress(contents)
    return ", ".join([title, kind, *(f"{unit} {count}" for unit, count in list(progress.items())[:1])])


def _progress(contents):
    """How far the run had come, in a card's terms: {"epoch": 200}."""
    beside = contents.beside
    meta = beside["meta"] if isinstance(beside.get("meta"), dict) else {}
    lightning = beside["epoch"] + 1 if isinstance(beside.get("epoch"), int) else None  # counts from 0
    known = {"epoch": contents.card.get("epoch", meta.get("epoch", lightning))}
    known["step"] = contents.card.get("step", beside.get("step"))
    return {unit: count for unit, count in known.items() if isinstance(count, int)}


def _card(contents, found, layout, backbone, model, padding):
    card = {**contents.card, **_progress(contents)}
    if "mindbyol" not in card:
        card = {"source": found, "mindbyol": mindbyol.__version__, "mindspore": mindspore.__version__, **card}
    stem = "small" if "conv1.weight" in backbone and backbone["conv1.weight"].shape[-1] == 3 else "imagenet"
    card["model"] = model or card.get("model") or resnet_name({name: tensor.shape for name, tensor in backbone.items()})
    card["stem"] = card.get("stem") or stem
    card["padding"] = padding or card.get("padding") or layout.padding
    if card["stem"] == "imagenet":
        card = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, **card}
    return card


def _backbone_shapes(model, stem, stages):
    """({name: shape}, number of features) of a backbone; only other networks than ResNets are built for it."""
    if model in RESNETS:
        return resnet_shapes(model, stem, stages)
    from mindbyol.backbones import create_backbone

    backbone = create_backbone(model, stem=stem)
    return {p.name: tuple(p.shape) for p in backbone.get_parameters()}, backbone.num_features


def _expected_shapes(part, parts, backbone):
    """Name to shape of what a part must hold; hidden and output sizes of the heads are those of the file."""
    shapes, features = backbone
    if part in layouts.BACKBONES:
        return shapes
    found = {name: tensor.shape for name, tensor in parts[part].items()}
    if part == layouts.PROBE:
        classes = _axis(found, 0, "weight", "bias")
        return {"weight": (classes, features), "bias": (classes,)}
    if part == layouts.PREDICTOR:
        projector = {name: tensor.shape for name, tensor in parts.get(layouts.PROJECTOR, {}).items()}
        features = _axis(projector, 0, "fc1.weight") or _axis(found, 1, "fc0.weight")
    hidden = _axis(found, 0, "fc0.weight", "bn0.gamma")
    out = _axis(found, 0, "fc1.weight")
    expected = {"fc0.weight": (hidden, features), "fc0.bias": (hidden,)}
    expected.update({f"bn0.{name}": (hidden,) for name in ("gamma", "beta", "moving_mean", "moving_variance")})
    expected.update({"fc1.weight": (out, hidden), "fc1.bias": (out,)})
    optional = {"fc0.bias", "fc1.bias"} - found.keys()
    return {name: shape for name, shape in expected.items() if name not in optional}


def _axis(shapes, axis, *names):
    """Size along an axis of the first of the names that is there, 0 if none is."""
    return next((shapes[name][axis] for name in names if len(shapes.get(name, ())) > axis), 0)


def _differences(part, found, expected):
    lines = [f"missing: {part}{name}" for name in expected if name not in found]
    lines += [f"unexpected: {part}{name} {tensor.shape}" for name, tensor in found.items() if name not in expected]
    for name, shape in expected.items():
        if name in found and found[name].shape != shape:
            lines.append(f"misshapen: {part}{name} is {found[name].shape} in the file, {shape} in the network")
    return lines


def _fill_biases(arrays, report):
    """Gives heads whose first layer has no bias one of zeros, which is the same function."""
    for part in layouts.HEADS:
        weight = arrays.get(part + "fc0.weight")
        if weight is not None and part + "fc0.bias" not in arrays:
            arrays[part + "fc0.bias"] = in_memory(np.zeros(weight.shape[0], np.float32))
            report.append(f"{TITLES[part]}: its first layer has no bias; zeros stand for it")


def _finite(name, tensor):
    array = read_float32(tensor)
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(f"{name} holds {bad} values that are NaN or infinite; the run that wrote it had diverged")
    return array


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
    only_backbone = all(name.startswith(layouts.ONLINE) for name in weights.arrays)
    card = {**weights.card, "kind": "backbone" if only_backbone else "byol"}
    checkpoint.write(output, weights.part(layouts.ONLINE) if only_backbone else weights.arrays, card)
    network = f"{card['model']}, stem {card['stem']}, padding {card['padding']}"
    return [f"found {weights.found}", *weights.report, f"wrote {output} ({network})"]


def load_pretrained(path, family="auto"):
    """Weights to start training from: what a recipe's `pretrained_from` names.

    Args:
        path (str): A checkpoint of any known project.
        family (str): `auto`, or the project that must have written it.

    Returns:
        tuple: Arrays under mindbyol's names (`online.backbone.*` always; projector, predictor and target if the file
        has them; never a classifier), the padding with which they are exact, and a description of several lines.

    Raises:
        FileNotFoundError, ValueError: As `read_weights`.
    """
    weights = read_weights(path, family)
    arrays = {name: array for name, array in weights.arrays.items() if not name.startswith(layouts.PROBE)}
    return arrays, weights.card["padding"], "\n  ".join([weights.found, *weights.report])
