"""Reads weights of any known project into mindbyol's names, and proves what was loaded."""

import re
from dataclasses import dataclass, field, replace

import numpy as np

from mindbyol import checkpoint
from mindbyol.files import check_output
from mindbyol.model_card import Card
from mindbyol.weights import layouts
from mindbyol.weights.files import open_weights, read_float32
from mindbyol.weights.provenance import describe_source, make_card
from mindbyol.weights.resnets import RESNETS, resnet_shapes
from mindbyol.weights.tensors import in_memory


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
    found = describe_source(contents, layout, parts)
    card = make_card(contents, found, layout, parts[layouts.ONLINE], model, padding)
    if layout.family == "solo-learn" and card.stem == "small" and not allow_unmatched:
        raise ValueError(
            f"{found}: solo-learn pads the first convolution for small images by 2, mindbyol by 1, so features would "
            "differ at the borders; --allow-unmatched converts it all the same, to train on"
        )

    backbone = _expected_backbone(card)
    report, problems, arrays = [], [f"unexpected: {name}" for name in unknown], {}
    for part in parts.keys() & set(layouts.BACKBONES):
        parts[part] = checkpoint.from_mindcv(parts[part], backbone.mindcv_names)
    if layout.family == "mindcv":
        report += _leave_out_classifier(parts, backbone.dropped)
    for part, title in layouts.TITLES.items():
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
    absent = [title for part, title in layouts.TITLES.items() if part not in parts]
    report += [f"not in the file: {', '.join(absent)}"] if absent else []
    report += [f"left out: {line}" for line in shown]
    _fill_biases(arrays, report)
    arrays = {name: read_float32(tensor) for name, tensor in arrays.items()}
    checkpoint.check_finite(arrays, contents.path)
    return Weights(arrays, card, found, report, backbone.mindcv_names)


_PROBLEMS = ("missing", "unexpected", "misshapen")
_SHOWN = 12
_ADVICE = "--allow-unmatched converts what matches and leaves out the rest"


def _without_wrapper(tensors):
    """Drops what PyTorch adds to names: `_orig_mod.` of torch.compile, and DataParallel's `module.` before them all."""
    names = {name: re.sub(r"(^|(?<=\.))_orig_mod\.", "", name) for name in tensors}
    if all(name.startswith("module.") for name in names.values()):
        names = {name: shorter[len("module.") :] for name, shorter in names.items()}
    twice = next((name for name, shorter in names.items() if name != shorter and shorter in tensors), None)
    if twice:
        raise ValueError(f"{twice} and {names[twice]} are two entries for one parameter")
    return {names[name]: tensor for name, tensor in tensors.items()}


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


@dataclass
class _Backbone:
    """What a file must hold for a backbone: {name: shape}, width of the features; as of `create_backbone`, the rest."""

    shapes: dict
    features: int
    mindcv_names: dict = field(default_factory=dict)
    dropped: tuple = ()


def _expected_backbone(card):
    """Of a model card's network; only others than ResNets are built for it."""
    if card.model in RESNETS:
        return _Backbone(*resnet_shapes(card.model, card.stem, card.stages))
    from mindbyol.backbones import create_backbone

    built = create_backbone(card.model, card.stem, image_size=card.image_size, stages=card.stages)
    shapes = {p.name: tuple(p.shape) for p in built.get_parameters()}
    return _Backbone(shapes, built.num_features, built.mindcv_names, built.dropped)


def _leave_out_classifier(parts, dropped):
    """Takes out a classifier that is no single linear layer, or has another name than that; a line about it."""
    names = [name for name in parts[layouts.ONLINE] if name.split(".")[0] in dropped]
    for name in names:
        del parts[layouts.ONLINE][name]
    if not parts.get(layouts.PROBE, {}).keys() <= {"weight", "bias"}:
        names += [f"classifier.{name}" for name in parts.pop(layouts.PROBE)]
    return [f"the classifier is left out: {', '.join(names)}"] if names else []


def _expected_shapes(part, parts, backbone):
    """Name to shape of what a part must hold; hidden and output sizes of the heads are those of the file."""
    features = backbone.features
    if part in layouts.BACKBONES:
        return backbone.shapes
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
            report.append(f"{layouts.TITLES[part]}: its first layer has no bias; zeros stand for it")


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
    card = replace(weights.card, kind="backbone" if only_backbone else "byol")
    arrays = weights.arrays
    if only_backbone:
        arrays = checkpoint.to_mindcv(weights.part(layouts.ONLINE), weights.mindcv_names)
    checkpoint.write(output, arrays, card)
    network = f"{card.model}, stem {card.stem}, padding {card.padding}"
    return [f"found {weights.found}", *weights.report, f"wrote {output} ({network})"]
