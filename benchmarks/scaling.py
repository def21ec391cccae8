"""What a step sends and a device holds, computed from the recipe's own network.

    python benchmarks/scaling.py --config configs/byol/RECIPE.yaml [any flag of train.py]

Prints a Markdown table for 1 to 1024 devices. Sent: float32 gradients once a step; for every synchronised batch norm
two moments forward and two gradients backward, once a view and accumulated batch. A ring all-reduce of V bytes sends
2 (n - 1) / n * V a device. Held: parameters, target, statistics, optimizer state, gradients, and the outputs of
all layers of the online networks for both views, which the backward pass may need: an upper bound that compilers
lower by reusing memory.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402

import mindspore as ms  # noqa: E402

from mindbyol.config import parse_args  # noqa: E402
from mindbyol.pretraining import create_byol  # noqa: E402
from mindbyol.training.batch_norm import BatchNormOfViews  # noqa: E402

FLOAT = 4
MEGA = 1e6


def batch_norm_bytes(network):
    """Bytes all-reduced a batch: forward in all networks, backward in those that learn; twice, for two views."""

    def channels(cell):
        norms = [c for _, c in cell.cells_and_names() if isinstance(c, BatchNormOfViews)]
        return sum(c.gamma.size for c in norms)

    learning = channels(network.online) + channels(network.predictor)
    return 2 * FLOAT * 2 * (2 * learning + channels(network.target))


def activation_bytes(network, image_size):
    """Outputs of all layers of the online networks, for both views of one image."""
    sizes = []
    for part in (network.online, network.predictor):
        for _, cell in part.cells_and_names():
            if not list(cell.cells()):
                cell.register_forward_hook(lambda _, __, output: sizes.append(output.size))
    ms.set_context(mode=ms.PYNATIVE_MODE)
    network.set_train(False)
    images = ms.Tensor(np.zeros((1, 3, image_size, image_size), np.float32))
    network.predictor(network.online(images)[1])
    return 2 * FLOAT * sum(sizes)


def main():
    args = parse_args()
    network = create_byol(args)
    trained = FLOAT * sum(p.size for p in network.trainable_params())
    everything = FLOAT * sum(p.size for p in network.get_parameters())
    state = {"lars": 1, "sgd": 2, "adamw": 2}[args.opt] * trained
    norms = batch_norm_bytes(network)
    activations = args.batch_size * activation_bytes(network, args.image_resize)
    print(f"{args.model}, {args.image_resize} px, {args.batch_size} images a device, {args.opt}, float32")
    print(f"gradients {trained / MEGA:.2f} MB a step, batch norms {norms / MEGA:.3f} MB a batch of a device")
    print(
        f"held: networks {everything / MEGA:.1f} MB, optimizer {state / MEGA:.1f} MB, gradients {trained / MEGA:.1f} MB"
    )
    print(f"activations: at most {activations / MEGA:.0f} MB\n")
    print("| devices | effective batch | sent a device and step, MB | held a device, MB |")
    print("|---:|---:|---:|---:|")
    for devices in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
        sent = 2 * (devices - 1) / devices * (trained + norms)
        held = everything + state + trained + activations
        print(f"| {devices} | {devices * args.batch_size} | {sent / MEGA:.2f} | {held / MEGA:.0f} |")


if __name__ == "__main__":
    main()
