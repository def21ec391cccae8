"""Converted weights give the features of the original library's own network.

The features were recorded by record_originals.py from torchvision, lightly, mmpretrain and Haiku, with weights that
`fill.py` makes again from their names. With the environment variable MINDBYOL_ORIGINALS naming the folder that its
--full wrote, the files that the libraries themselves saved are converted too.
"""

import json
import os
from pathlib import Path

import foreign
import numpy as np
import pytest
from fill import fill, images

from mindbyol.weights import networks, read_weights
from mindbyol.weights.torch_files import write_zip

FIXTURES = Path(__file__).parent / "fixtures"
# recorded: what it is found to be, padding
ORIGINALS = {
    "torchvision_resnet18": ("torchvision, backbone and probe", "torch"),
    "torchvision_resnet50": ("torchvision, backbone and probe", "torch"),
    "lightly": ("lightly, full checkpoint", "torch"),
    "mmpretrain": ("mm", "torch"),
    "deepmind": ("DeepMind", "same"),
}
FULL = Path(os.environ.get("MINDBYOL_ORIGINALS", "/nonexistent"))
SLOW = {"torchvision_resnet50": pytest.mark.slow}  # bottleneck blocks are in deepmind too
CASES = [
    pytest.param(family, file, marks=SLOW.get(family, ()))
    for family in ORIGINALS
    for file in [None, *sorted(FULL.glob(f"{family}.*"))]
]


def rebuild(recorded, path):
    """Writes the checkpoint that was recorded, as its family has it."""
    entries = {name: fill(name, tuple(shape)) for name, shape in json.loads(str(recorded["entries"]))}
    if "online_params" not in next(iter(entries)):
        write_zip(path, {"state_dict": entries})
        return
    parts = {"online_params": {}, "online_state": {}}
    for name, array in entries.items():
        part, _, rest = name.partition("/")
        module, _, leaf = rest.rpartition("/")
        parts[part].setdefault(module, {})[leaf] = array
    foreign.dump_experiment(path, *(2 * [parts["online_params"]]), *(2 * [parts["online_state"]]), step=300)


@pytest.mark.parametrize("family, file", CASES)
def test_features_are_the_original_ones(family, file, tmp_path):
    recorded = np.load(FIXTURES / f"{family}.npz")
    found, padding = ORIGINALS[family]
    if file is None:
        file = tmp_path / "source"
        rebuild(recorded, file)
    weights = read_weights(file)
    assert weights.found.startswith(found) and weights.card.padding == padding
    network = networks.build(weights)
    sizes = [int(name.partition("_")[2]) for name in recorded.files if name.startswith("features_")]
    for size in sizes:
        difference = networks.relative_difference(
            networks.forward(network, images(size)), [recorded[f"features_{size}"]]
        )
        assert difference < 1e-5, size
    size = 163 if padding == "torch" else 224  # a smaller one where the paddings differ
    wrong = networks.forward(networks.build(weights, padding="mindcv"), images(size))
    assert networks.relative_difference(wrong, [recorded[f"features_{size}"]]) > 1e-2
    if "projection_163" in recorded:
        outputs = networks.forward(networks.build(weights, heads=True), images(163))
        assert networks.relative_difference(outputs[1:], [recorded["projection_163"]]) < 1e-5
