"""What a file must hold to be the weights of a network, and how what it holds differs from that."""

from dataclasses import dataclass, field

from mindbyol.weights import layouts
from mindbyol.weights.resnets import RESNETS, resnet_shapes


@dataclass
class Backbone:
    """The backbone that a file is for.

    Attributes:
        shapes (dict): Name to shape of each parameter, by its place in the network.
        features (int): Width of its output.
        mindcv_names, dropped: As of `backbones.create_backbone`.
    """

    shapes: dict
    features: int
    mindcv_names: dict = field(default_factory=dict)
    dropped: tuple = ()


def expected_backbone(card):
    """The `Backbone` of a model card's network; only others than ResNets are built for it."""
    if card.model in RESNETS:
        return Backbone(*resnet_shapes(card.model, card.stem, card.stages))
    from mindbyol.backbones import create_backbone  # not before: it imports all of MindCV

    built = create_backbone(card.model, card.stem, image_size=card.image_size, stages=card.stages)
    shapes = {p.name: tuple(p.shape) for p in built.get_parameters()}
    return Backbone(shapes, built.num_features, built.mindcv_names, built.dropped)


@dataclass
class Match:
    """How a part of a file fits.

    Attributes:
        part (str): One of `layouts.PARTS`.
        expected (dict): Name to shape of what it must hold.
        found (dict): Name to tensor of what it holds.
    """

    part: str
    expected: dict
    found: dict

    def __post_init__(self):
        both = [name for name in self.expected if name in self.found]
        self.missing = [name for name in self.expected if name not in self.found]
        self.unexpected = [name for name in self.found if name not in self.expected]
        self.misshapen = [name for name in both if self.found[name].shape != self.expected[name]]
        self.fitting = [name for name in both if self.found[name].shape == self.expected[name]]

    def line(self, counters):
        """The result in words; `counters` is how many entries were left aside because nothing needs them."""
        return (
            f"{layouts.TITLES[self.part]} {len(self.fitting)}/{len(self.expected)} loaded, "
            f"{len(self.missing)} missing, {len(self.unexpected)} unexpected"
            + (f", {len(self.misshapen)} misshapen" if self.misshapen else "")
            + (f" ({counters} counters not needed)" if counters else "")
        )

    def problems(self):
        """A line for each entry that does not fit."""
        part, expected, found = self.part, self.expected, self.found
        return [
            *(f"missing: {part}{name}" for name in self.missing),
            *(f"unexpected: {part}{name} {found[name].shape}" for name in self.unexpected),
            *(
                f"misshapen: {part}{name} is {found[name].shape} in the file, {expected[name]} in the network"
                for name in self.misshapen
            ),
        ]


def match(part, parts, backbone):
    """Compares a part with what it must hold.

    Args:
        part (str): One of `layouts.PARTS`, which is in `parts`.
        parts (dict): {part: {our name: tensor}} of the file.
        backbone (Backbone): What the file is for.

    Returns:
        Match: What fits and what does not.
    """
    return Match(part, _expected_shapes(part, parts, backbone), parts[part])


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
