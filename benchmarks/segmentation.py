"""Time of a training step of FCN R50-D8 beside torchvision's FCN, compile time, and memory of one image.

    python benchmarks/segmentation.py                    # MindSpore only
    pip install torch torchvision                        # for the PyTorch column
    python benchmarks/segmentation.py --memory 512       # peak memory of a process that trains on one image

`fcn` has the heads of `torchvision.models.segmentation.fcn_resnet50`: one 3x3 convolution each. `mmselfsup` has those
of the recipe: two, and one more after the concatenation. Loss, auxiliary loss and SGD are the same. The contenders take
turns, a step each, so that what else the machine does hits all alike; medians over --rounds after one step each.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402

CLASSES = 21
HEADS = {"mmselfsup": {}, "fcn": {"head_convs": 1, "head_concat": False}}


def batch(size, images):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, CLASSES, (images, size, size))
    return rng.integers(0, 256, (images, 3, size, size)).astype(np.uint8), mask.astype(np.uint8)


def our_step(heads, size, images):
    """A step of ours, not yet compiled."""
    from mindspore import Tensor

    from mindbyol.backbones import create_backbone
    from mindbyol.byol import Normalize
    from mindbyol.config import recipe_from
    from mindbyol.segmentation.network import dropped_channels
    from mindbyol.segmentation.task import NETWORK, create_network
    from mindbyol.training.optimizer import create_optimizer
    from mindbyol.training.plan import Plan
    from mindbyol.training.step import TrainOneStep

    recipe = recipe_from({"task": "segmentation", "train_steps": 1000, "batch_size": 2, **HEADS[heads]})
    settings = {key.name: recipe.values[key.name] for key in NETWORK.keys}
    network = create_network(create_backbone("resnet50"), Normalize(recipe.mean, recipe.std), CLASSES, settings)
    step = TrainOneStep(network, create_optimizer(recipe, network, Plan(recipe, 1000)))
    pixels, mask = batch(size, images)
    drawn = np.random.default_rng(1).random((images, dropped_channels(settings)), np.float32)
    sizes = np.full((images, 2), size, np.float32)
    arrays = [Tensor(array) for array in (pixels, mask, sizes, drawn)]
    return lambda: step(*arrays)[0].asnumpy()


def torchvision_step(size, images):
    """The same by torchvision and PyTorch, eager; None if they are not there."""
    try:
        import torch
        from torchvision.models.segmentation import fcn_resnet50
    except ImportError:
        return None
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = fcn_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    pixels, mask = (torch.from_numpy(array) for array in batch(size, images))
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    )
    loss_of = torch.nn.functional.cross_entropy

    def step():
        optimizer.zero_grad(set_to_none=True)
        found = model((pixels.float() - mean) / std)
        loss = loss_of(found["out"], mask.long()) + 0.4 * loss_of(found["aux"], mask.long())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def create(name, size, images):
    return torchvision_step(size, images) if name == "torchvision" else our_step(name, size, images)


def peak_memory(name, size):
    """GB at the most that a process holds that makes two steps with one image."""
    command = [sys.executable, __file__, "--child", name, "--size", str(size)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else "failed"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the images (default: 128)")
    parser.add_argument("--images", type=int, default=2, help="images a step (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="steps that are timed (default: 5)")
    parser.add_argument("--memory", type=int, metavar="SIZE", help="peak memory with one image of this side instead")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        step = create(args.child, args.size, 1)
        step(), step()
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
        return
    names = [*HEADS, "torchvision"]
    if args.memory:
        for name in names:
            print(f"{name:<12} {peak_memory(name, args.memory)} with one image of {args.memory} px")
        return
    steps = {}
    for name in names:
        step = create(name, args.size, args.images)
        if step is None:
            print(f"{name:<12} is not installed")
            continue
        started = time.perf_counter()
        step()
        print(f"{name:<12} first step, compilation included: {time.perf_counter() - started:.1f} s", flush=True)
        steps[name] = step
    seconds = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    peer = statistics.median(seconds.get("torchvision", [float("nan")]))
    for name, of_name in seconds.items():
        median = statistics.median(of_name)
        spread = f"{min(of_name):.2f}-{max(of_name):.2f}"
        print(f"{name:<12} {median:.2f} s a step ({spread}), {median / peer:.2f} times torchvision's")


if __name__ == "__main__":
    main()
