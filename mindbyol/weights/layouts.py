"""Which project wrote a checkpoint, and what its names mean here.

Each `Layout` is a table: the prefixes of one project's files and the parts of ours that they hold. Prefixes are matched
from the start of a name, the longest first, so that `momentum_backbone.` is never taken for `backbone.`. The parts are

    online.backbone.  online.projector.  predictor.  target.backbone.  target.projector.  probe.

with MindCV's names in the backbones and `fc0`, `bn0`, `fc1` in the heads.
"""

import math
import re
from dataclasses import dataclass, field

from mindbyol.weights.tensors import StoredTensor

ONLINE, PROJECTOR, PREDICTOR = "online.backbone.", "online.projector.", "predictor."
TARGET, TARGET_PROJECTOR, PROBE = "target.backbone.", "target.projector.", "probe."
PARTS = (ONLINE, PROJECTOR, PREDICTOR, TARGET, TARGET_PROJECTOR, PROBE)
TITLES = dict(zip(PARTS, ("backbone", "projector", "predictor", "target backbone", "target projector", "probe")))
BACKBONES, HEADS = (ONLINE, TARGET), (PROJECTOR, PREDICTOR, TARGET_PROJECTOR)


@dataclass(frozen=True)
class Layout:
    """How one project lays out its checkpoints.

    Attributes:
        family (str): What `--from` calls it.
        title (str): For the report.
        prefixes (dict): Prefix of the file's names to the part it holds.
        marks (tuple): Regular expressions; each must match some name of the file for this layout to be it.
        names (str): Names inside the parts: `torch`, `mindcv` or `haiku`.
        padding (str): The padding with which these weights are exact.
        twins (dict): Prefix to prefix: the same tensors stored a second time.
        ignored (tuple): Prefixes of entries that are no weights, or that nothing uses.
    """

    family: str
    title: str
    prefixes: dict
    marks: tuple
    names: str = "torch"
    padding: str = "torch"
    twins: dict = field(default_factory=dict)
    ignored: tuple = ()


_MM_HEAD = {"head.predictor.": PREDICTOR}
_HAIKU = {}
for _kind in ("params", "state"):
    for _network, _backbone, _projector in (("online", ONLINE, PROJECTOR), ("target", TARGET, TARGET_PROJECTOR)):
        _HAIKU[f"{_network}_{_kind}/res_net*/~/"] = _backbone
        _HAIKU[f"{_network}_{_kind}/projector/"] = _projector
    _HAIKU[f"online_{_kind}/predictor/"] = PREDICTOR
    _HAIKU[f"online_{_kind}/classifier/"] = PROBE
# DeepMind's target is made by the function that makes the online network, so it has a predictor and a classifier, too;
# they follow the online ones, and nothing uses them.
_HAIKU_UNUSED = ("target_params/predictor/", "target_state/predictor/", "target_params/classifier/")

# The first whose marks are all there is the one: the telling ones stand before the plain ones.
LAYOUTS = (
    Layout(
        "mindbyol",
        "mindbyol",
        {part: part for part in PARTS},
        (r"online\.backbone\.",),
        "mindcv",
        "mindcv",
        ignored=("",),  # the optimizer's state and counters
    ),
    Layout(
        "mmselfsup",
        "mmselfsup 1.x",
        {
            "backbone.": ONLINE,
            "neck.": PROJECTOR,
            "target_net.module.0.": TARGET,
            "target_net.module.1.": TARGET_PROJECTOR,
            **_MM_HEAD,
        },
        (r"backbone\.", r"target_net\.module\.0\."),
        ignored=("target_net.steps", "data_preprocessor."),
    ),
    Layout(
        "mmselfsup0",
        "mmselfsup 0.x",
        {
            "online_net.0.": ONLINE,
            "online_net.1.": PROJECTOR,
            "target_net.0.": TARGET,
            "target_net.1.": TARGET_PROJECTOR,
            **_MM_HEAD,
        },
        (r"online_net\.0\.",),
        twins={"backbone.": "online_net.0.", "neck.": "online_net.1."},
    ),
    Layout(
        "mmselfsup",
        "mmselfsup, linear evaluation",
        {"backbone.": ONLINE, "head.fc.": PROBE, "head.fc_cls.": PROBE},
        (r"backbone\.", r"head\.fc(_cls)?\.weight"),
        ignored=("data_preprocessor.",),
    ),
    Layout(
        "lightly",
        "lightly",
        {
            "backbone.": ONLINE,
            "projection_head.layers.": PROJECTOR,
            "prediction_head.layers.": PREDICTOR,
            "teacher_backbone.": TARGET,
            "teacher_projection_head.layers.": TARGET_PROJECTOR,
            "backbone_momentum.": TARGET,
            "projection_head_momentum.layers.": TARGET_PROJECTOR,
            "online_classifier.classification_head.": PROBE,
        },
        (r"backbone\.", r"projection_head\.layers\."),
    ),
    Layout(
        "solo-learn",
        "solo-learn",
        {
            "backbone.": ONLINE,
            "encoder.": ONLINE,
            "projector.": PROJECTOR,
            "predictor.": PREDICTOR,
            "momentum_backbone.": TARGET,
            "momentum_encoder.": TARGET,
            "momentum_projector.": TARGET_PROJECTOR,
            "classifier.": PROBE,
        },
        (r"(backbone|encoder)\.", r"momentum_(backbone|encoder)\.", r"projector\.0\."),
        ignored=("momentum_classifier.",),
    ),
    Layout("deepmind", "DeepMind", _HAIKU, (r"online_params/res_net",), "haiku", "same", ignored=_HAIKU_UNUSED),
    Layout(
        "mindcv",
        "MindCV",
        {"": ONLINE, "backbone.": ONLINE, "classifier.": PROBE, "projector.": PROJECTOR},
        (r".*\.(gamma|moving_mean)$",),
        "mindcv",
        "mindcv",
    ),
    Layout(
        "torchvision",
        "torchvision",
        {"": ONLINE, "fc.": PROBE, "projector.": PROJECTOR},
        (r"conv1\.weight", r"bn1\.running_mean"),
    ),
    Layout("mmselfsup", "mmselfsup, backbone", {"backbone.": ONLINE}, (r"backbone\.conv1\.weight",)),
)
FAMILIES = tuple(dict.fromkeys(layout.family for layout in LAYOUTS))


def detect(names, family="auto"):
    """Finds the layout of a checkpoint from the names in it.

    Args:
        names (Iterable[str]): Names of the tensors in the file.
        family (str): `auto`, or one of `FAMILIES`: then only that one is accepted.

    Returns:
        Layout: The first that fits.

    Raises:
        ValueError: Nothing fits, or something else than the family named.
    """
    if family not in ("auto", *FAMILIES):
        raise ValueError(f"--from {family}: known are auto, {', '.join(FAMILIES)}")
    names = list(names)
    found = next((layout for layout in LAYOUTS if all(_any_match(mark, names) for mark in layout.marks)), None)
    if found is None:
        some = ", ".join(names[:6])
        raise ValueError(
            f"none of {', '.join(FAMILIES)} names its weights like this: {some}, ...; name a checkpoint of one of them"
        )
    if family not in ("auto", found.family):
        raise ValueError(
            f"--from {family}: the names in the file are those of {found.title}; set --from {found.family}"
        )
    return found


def _any_match(mark, names):
    return any(re.match(mark, name) for name in names)


def split(name, prefixes):
    """Splits a name into (longest of the `prefixes` it starts with, rest); a `*` in a prefix stands for one word."""
    best = None
    for prefix in prefixes:
        match = re.match(re.escape(prefix).replace(r"\*", r"\w*"), name)
        if match and (best is None or match.end() > best[1]):
            best = prefix, match.end()
    return (best[0], name[best[1] :]) if best else (None, name)


# ---- names inside a part -----------------------------------------------------------------------------------------

_STATISTICS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_MLP = {"0": "fc0", "1": "bn0", "3": "fc1"}


def from_torch(part, names):
    """Maps PyTorch's names inside a part to ours.

    Args:
        part (str): One of `PARTS`.
        names (Iterable[str]): The names, without prefix.

    Returns:
        dict: Name in the file to name here; None for the batch counters, which nothing needs.
    """
    names = list(names)
    normalised = {name.rpartition(".")[0] for name in names if name.endswith(".running_mean")}
    # A ResNet cut out of torchvision with nn.Sequential(*children) has numbers where the names were.
    cut_out = part in BACKBONES and "0.weight" in names
    first_words = _MLP if part in HEADS else (_SEQUENTIAL if cut_out else {})
    mapped = {}
    for name in names:
        module, _, leaf = name.rpartition(".")
        if leaf == "num_batches_tracked":
            mapped[name] = None
            continue
        if module in normalised:
            leaf = _STATISTICS.get(leaf, leaf)
        first, dot, rest = module.partition(".")
        module = first_words.get(first, first) + dot + rest
        mapped[name] = f"{module}.{leaf}".replace("downsample.", "down_sample.").lstrip(".")
    return mapped


def to_torch(names):
    """Maps MindCV's names of a ResNet (or ours of a head) to torchvision's; the reverse of `from_torch`."""
    names = list(names)
    back = {ours: theirs for theirs, ours in _STATISTICS.items()}
    normalised = {name.rpartition(".")[0] for name in names if name.endswith(".moving_mean")}
    mapped = {}
    for name in names:
        module, _, leaf = name.rpartition(".")
        leaf = back.get(leaf, leaf) if module in normalised else leaf
        mapped[name] = f"{module}.{leaf}".replace("down_sample.", "downsample.")
    return mapped


_HAIKU_WORDS = (
    (r"/~/mean_ema/average$", ".moving_mean"),
    (r"/~/var_ema/average$", ".moving_variance"),
    (r"(^|/)w$", r"\1weight"),
    (r"(^|/)b$", r"\1bias"),
    (r"(^|/)scale$", r"\1gamma"),
    (r"(^|/)offset$", r"\1beta"),
    (r"\binitial_conv\b", "conv1"),
    (r"\binitial_batchnorm\b", "bn1"),
    (r"\bshortcut_conv\b", "down_sample.0"),
    (r"\bshortcut_batchnorm\b", "down_sample.1"),
    (r"\bblock_group_(\d)", lambda m: f"layer{int(m[1]) + 1}"),
    (r"\bconv_(\d)", lambda m: f"conv{int(m[1]) + 1}"),
    (r"\bbatchnorm_(\d)", lambda m: f"bn{int(m[1]) + 1}"),
    (r"\bblock_(\d)", r"\1"),
    (r"\blinear_1\b", "fc1"),
    (r"\blinear\b", "fc0"),
    (r"\bbatch_norm\b", "bn0"),
    (r"/~/|/", "."),
)


def from_haiku(_part, names):
    """Maps Haiku's names inside a part to ours; None for the counters and the biased sums behind the averages."""
    mapped = {}
    for name in names:
        ours = name
        for pattern, replacement in _HAIKU_WORDS:
            ours = re.sub(pattern, replacement, ours)
        mapped[name] = None if re.search(r"_ema/(hidden|counter)$", name) else ours
    return mapped


def from_haiku_tensor(tensor, name):
    """Turns HWIO convolutions and (in, out) matrices into OIHW and (out, in), and flattens the rest."""
    if not name.endswith("weight"):
        return StoredTensor((math.prod(tensor.shape),), tensor.dtype, lambda: tensor.read().reshape(-1))
    axes = (3, 2, 0, 1) if len(tensor.shape) == 4 else tuple(reversed(range(len(tensor.shape))))
    shape = tuple(tensor.shape[axis] for axis in axes)
    return StoredTensor(shape, tensor.dtype, lambda: tensor.read().transpose(axes))


TRANSLATIONS = {
    "torch": from_torch,
    "haiku": from_haiku,
    "mindcv": lambda _part, names: {name: name for name in names},
}
