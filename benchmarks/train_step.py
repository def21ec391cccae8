"""Time of one BYOL step beside the bare passes of its networks, and beside PyTorch with lightly's BYOL parts.

    python benchmarks/train_step.py                      # MindSpore only
    pip install -r benchmarks/requirements.txt           # for the PyTorch column
    ONEDNN_VERBOSE=1 python benchmarks/train_step.py ... # which kernels run

The contenders take turns, a step each, so that what else the machine does hits all alike; medians over --rounds after
one warm-up step each. The bare passes are what no implementation can do without: the online encoder forward and
backward on two views, the target encoder forward on two views.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402

import mindspore as ms  # noqa: E402
from mindspore import Tensor, nn, ops  # noqa: E402

from mindbyol.backbones import create_backbone  # noqa: E402
from mindbyol.byol import Encoder  # noqa: E402
from mindbyol.config import parse_args  # noqa: E402
from mindbyol.heads import MLP  # noqa: E402
from mindbyol.pretraining import create_byol, create_train_step  # noqa: E402
from mindbyol.training.plan import Plan  # noqa: E402

CASES = {"resnet18": (96, 32), "resnet50": (128, 8)}


def recipe(model, size, batch):
    return parse_args(["--model", model, "--image_resize", str(size), "--batch_size", str(batch)])


def our_step(model, size, batch):
    args = recipe(model, size, batch)
    plan = Plan(args, 100 * batch)
    step = create_train_step(args, create_byol(args), plan)
    views = [Tensor(images.astype(np.uint8)) for images in random_views(size, batch)]
    return lambda: step(*views)[0].asnumpy()


class BarePasses(nn.Cell):
    """Two online passes with gradients, two target passes, and nothing else."""

    def __init__(self, online, target):
        super().__init__(auto_prefix=False)
        self.online = online
        self.target = target
        parameters = ms.ParameterTuple(online.trainable_params())
        self.value_and_grad = ops.value_and_grad(self.online_passes, None, parameters)

    def construct(self, view_1, view_2):
        loss, gradients = self.value_and_grad(view_1, view_2)
        target = self.target(view_1)[1], self.target(view_2)[1]
        return loss, target, gradients

    def online_passes(self, view_1, view_2):
        return ops.reduce_sum(self.online(view_1)[1]) + ops.reduce_sum(self.online(view_2)[1])


def plain_encoder(model, size):
    """With MindSpore's own batch norms: each view passes on its own."""
    backbone = create_backbone(model, image_size=size)
    return Encoder(backbone, MLP(backbone.num_features)).set_train()


def bare_passes(model, size, batch):
    passes = BarePasses(*(plain_encoder(model, size) for _ in range(2)))
    views = [Tensor(images.astype(np.float32)) / 128 - 1 for images in random_views(size, batch)]
    return lambda: passes(*views)[0].asnumpy()


def lightly_step(model, size, batch):
    """lightly's BYOL example with its heads, loss, momentum update and LARS."""
    import torch
    import torchvision
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.utils.lars import LARS

    torch.set_num_threads(len(os.sched_getaffinity(0)))

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = getattr(torchvision.models, model)()
            width = self.backbone.fc.in_features
            self.backbone.fc = torch.nn.Identity()
            self.projector = BYOLProjectionHead(width, 4096, 256)

        def forward(self, x):
            return self.projector(self.backbone(x))

    online, target, predictor = Encoder(), Encoder(), BYOLPredictionHead(256, 4096, 256)
    deactivate_requires_grad(target)
    criterion = NegativeCosineSimilarity()
    optimizer = LARS([*online.parameters(), *predictor.parameters()], lr=0.1, momentum=0.9, weight_decay=1e-6)
    views = [torch.from_numpy(images.astype(np.uint8)) for images in random_views(size, batch)]

    def step():
        view_1, view_2 = (view.float() / 128 - 1 for view in views)
        prediction_1, prediction_2 = predictor(online(view_1)), predictor(online(view_2))
        with torch.no_grad():
            target_1, target_2 = target(view_1), target(view_2)
        loss = 2 * (criterion(prediction_1, target_2) + criterion(prediction_2, target_1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        update_momentum(online, target, 0.996)
        return loss.item()

    return step


def random_views(size, batch):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (batch, 3, size, size)) for _ in range(2)]


def seconds(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--no_torch", action="store_true", help="leave PyTorch out")
    arguments = parser.parse_args()
    contenders = {"mindbyol": our_step, "bare passes": bare_passes}
    if not arguments.no_torch:
        try:
            import lightly  # noqa: F401

            contenders["lightly"] = lightly_step
        except ImportError:
            print("no PyTorch column: pip install -r benchmarks/requirements.txt")
    ms.set_context(mode=ms.GRAPH_MODE)
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, MindSpore {ms.__version__}, median of {arguments.rounds} steps in turns, seconds")
    for model in arguments.models:
        size, batch = CASES[model]
        runs, first, times = {}, {}, {name: [] for name in contenders}
        for name, make in contenders.items():
            runs[name] = make(model, size, batch)
            first[name] = seconds(runs[name])
            runs[name]()
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                times[name].append(seconds(run))
        median = {name: statistics.median(values) for name, values in times.items()}
        print(f"{model}, {size} px, batch {batch}: first step, compilation included: {first['mindbyol']:.1f} s")
        for name, value in median.items():
            spread = f"{min(times[name]):.2f}-{max(times[name]):.2f}"
            print(f"  {name:<12}{value:6.2f} ({spread}), mindbyol takes {median['mindbyol'] / value:.2f} of that")


if __name__ == "__main__":
    main()
