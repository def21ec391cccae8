"""What reporting costs: a step that notes the norm of its gradients beside one that does not, and a log line.

    python benchmarks/watching.py
    python benchmarks/watching.py --cases digits --rounds 200

The steps take turns, so that what else the machine does hits both alike; medians, and the median of the ratios of
neighbours. What is done once a log line, measuring and writing it, is timed between them and set against the 100 steps
that a line stands for by default.
"""

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402

import mindspore as ms  # noqa: E402
from mindspore import Tensor  # noqa: E402

from mindbyol.config import parse_args  # noqa: E402
from mindbyol.pretraining import create_byol, create_train_step  # noqa: E402
from mindbyol.training.log import TrainLog  # noqa: E402
from mindbyol.training.measures import Measures  # noqa: E402
from mindbyol.training.plan import Plan  # noqa: E402

ROOT = Path(__file__).parents[1]
CASES = {
    "digits": ["-c", str(ROOT / "configs/byol/byol_resnet18_digits_cpu.yaml")],
    "resnet18": ["--model", "resnet18", "--image_resize", "96", "--batch_size", "32"],
    "resnet50": ["--model", "resnet50", "--image_resize", "128", "--batch_size", "8"],
}
STEPS_A_LINE = 100


def create(argv, noted):
    recipe = parse_args([*argv, "--gradient_norm", str(noted)])
    plan = Plan(recipe, 100 * recipe.batch_size)
    return recipe, plan, create_train_step(recipe, create_byol(recipe), plan)


def seconds(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure(name, rounds):
    recipe, plan, noting = create(CASES[name], True)
    _, _, plain = create(CASES[name], False)
    rng = np.random.default_rng(0)
    shape = recipe.batch_size, 3, recipe.image_resize, recipe.image_resize
    views = [Tensor(rng.integers(0, 256, shape).astype(np.uint8)) for _ in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        log = TrainLog(folder, noting, plan, 1, {}, measures=Measures(noting))  # each step has a line
        outputs = noting(*views)

        def line():
            log.add(*outputs)
            log.end_step(0.0)

        times = {"noting": [], "plain": [], "line": []}
        for number in range(rounds + 2):
            for contender, run in (("noting", noting), ("plain", plain)):
                took = seconds(lambda: run(*views)[0].asnumpy())
                if number >= 2:
                    times[contender].append(took)
            took = seconds(line)
            if number >= 2:
                times["line"].append(took)
        log.close()
    median = {contender: statistics.median(values) for contender, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["noting"], times["plain"]))
    a_step = median["line"] / STEPS_A_LINE / median["plain"]
    print(f"{name}: step {median['plain'] * 1e3:.1f} ms, with the norm noted {median['noting'] * 1e3:.1f} ms")
    print(f"  noting: {ratio - 1:+.2%} of a step (median of {rounds} ratios)")
    print(
        f"  a line: {median['line'] * 1e3:.1f} ms, {a_step:.2%} of a step where {STEPS_A_LINE} steps have one",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    logging.getLogger("mindbyol.training.log").setLevel(logging.WARNING)
    print(f"{len(os.sched_getaffinity(0))} cores, MindSpore {ms.__version__}")
    for name in arguments.cases:
        measure(name, arguments.rounds)


if __name__ == "__main__":
    main()
