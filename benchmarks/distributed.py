"""Time of a global batch on two processes against one, on the same cores, and what each part of it adds.

    python benchmarks/distributed.py [--model resnet18] [--batch 32] [--steps 12]

Runs train.py itself on scikit-learn's digits, reads the times from metrics.jsonl and prints a table; the median over
all steps after the first two. What two ranks spend on each other is the time of a step on two ranks beyond that of two
processes with the same batch each that do not know of one another, run at once.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def command(options, folder, batch, *flags):
    argv = ["train.py", "--config", "configs/byol/byol_resnet18_digits_cpu.yaml", "--model", options.model]
    argv += ["--stem", "imagenet", "--num_samples", str(options.batch * options.steps), "--batch_size", str(batch)]
    argv += ["--epoch_size", "1", "--warmup_epochs", "0", "--log_interval", "1", "--num_parallel_workers", "1"]
    return [*argv, "--image_resize", str(options.image_resize), "--ckpt_save_dir", str(folder), *flags]


def run(*commands):
    environ = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    processes = [subprocess.Popen(c, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) for c in commands]
    if any([process.wait() for process in processes]):
        sys.exit(f"failed: {commands}")


def milliseconds(folder, images):
    """Median time of `images` images."""
    records = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(1000 * images / record["images_per_second"] for record in records[2:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--image_resize", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32, help="images of a global batch; even")
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    batch, half = options.batch, options.batch // 2
    times = {}
    with tempfile.TemporaryDirectory() as temporary:

        def one(name, size, *flags):
            run([sys.executable, *command(options, f"{temporary}/{name}", size, *flags)])
            times[name] = milliseconds(f"{temporary}/{name}", batch)

        def two(name, *flags):
            msrun = ["msrun", "--worker_num=2", "--local_worker_num=2", "--master_port=8231", "--join=True"]
            folder = f"{temporary}/{name}"
            run([*msrun, f"--log_dir={folder}_log", *command(options, folder, half, *flags)])
            times[name] = milliseconds(folder, batch)

        one("one rank", batch)
        one("one rank, dynamic loss scale", batch, "--loss_scale_type", "dynamic", "--loss_scale", "1024")
        one("one rank, batches of half the size", half)
        one("the same, two accumulated", half, "--gradient_accumulation_steps", "2")
        folders = [f"{temporary}/alone{number}" for number in range(2)]
        run(*([sys.executable, *command(options, folder, half)] for folder in folders))
        times["two processes without communication"] = max(milliseconds(folder, half) for folder in folders)
        two("two ranks, sync_bn off", "--sync_bn", "False")
        two("two ranks")
    print(f"{options.model}, {options.image_resize} px, {batch} images a global batch, {os.cpu_count()} cores")
    for name, time in times.items():
        print(f"{name:<40}{time:8.1f} ms")
    share = 1 - times["two processes without communication"] / times["two ranks"]
    print(f"two ranks: share of a step spent on communication and waiting for each other: {100 * share:.0f}%")


if __name__ == "__main__":
    main()
