"""Builds the step of a recipe as train.py does and runs it once; `dry_run.py` starts this on a simulated Ascend.

Takes the flags of train.py. The data are zeros: under simulation nothing is computed.
"""

import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np  # noqa: E402

import mindspore as ms  # noqa: E402
from mindspore import Tensor  # noqa: E402
from mindspore.communication import init  # noqa: E402

from mindbyol import runtime  # noqa: E402
from mindbyol.config import parse_args  # noqa: E402
from mindbyol.pretraining import create_byol, create_train_step  # noqa: E402
from mindbyol.training.plan import Plan  # noqa: E402
from tests.ascend.dry_run import BEGIN  # noqa: E402

IMAGES, CLASSES = 1281167, 1000  # ImageNet's: they decide lengths of schedules and the size of the probe


def main(argv):
    recipe = parse_args(argv)
    runtime.setup("Ascend", recipe.mode, recipe.jit_level, distribute=False, seed=recipe.seed)
    ranks = int(os.environ["RANK_SIZE"])
    if ranks > 1:  # nobody launched the others: the simulated communicator pretends that they are there
        init()
        runtime.average_over(ranks)
    plan = Plan(recipe, IMAGES, ranks)
    network = create_byol(recipe, num_classes=CLASSES)
    step = create_train_step(recipe, network, plan, ranks)
    views = np.zeros((recipe.batch_size, 3, recipe.image_resize, recipe.image_resize), np.uint8)
    labels = np.zeros(recipe.batch_size, np.int32)
    print(BEGIN, file=sys.stderr, flush=True)
    seconds, cpu_seconds = time.perf_counter(), time.process_time()
    for _ in range(plan.accumulation):
        step(Tensor(views), Tensor(views), Tensor(labels))
    seconds, cpu_seconds = time.perf_counter() - seconds, time.process_time() - cpu_seconds
    host_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{recipe.model}, {recipe.image_resize} px, {plan.factors}, MindSpore {ms.__version__}")
    print(f"compiled in {seconds:.1f} s, {cpu_seconds:.1f} s of CPU; {host_mb} MB of this machine's memory")


if __name__ == "__main__":
    main(sys.argv[1:])
