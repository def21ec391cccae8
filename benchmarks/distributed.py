"""Time, traffic and memory of a global batch on two processes against one, on the same cores, and what each part adds.

    python benchmarks/distributed.py [--model resnet18] [--batch 32] [--steps 12]

Runs train.py itself on scikit-learn's digits, reads the times from metrics.jsonl and prints a table: of the times the
median over all steps after the first two, of the bytes that went through the loopback device the mean over all steps
and both ranks, of memory the peak of the largest process. What two ranks spend on each other is the time of a step on
two ranks beyond that of two processes with the same batch each that do not know of one another, run at once.
Linux only; nothing else should run.
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
    argv += ["--stem", "imagenet", "--stages", "4", "--image_resize", str(options.image_resize)]
    argv += ["--num_samples", str(options.batch * options.steps), "--batch_size", str(batch)]
    argv += ["--epoch_size", "1", "--warmup_epochs", "0", "--log_interval", "1", "--num_parallel_workers", "1"]
    return [*argv, "--ckpt_save_dir", str(folder), *flags]


def loopback_bytes():
    """What this machine has sent to itself since it was started."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            return int(line.split(":")[1].split()[0])
    return 0


def run(*commands):
    """Runs commands at once: the bytes they sent one another, and the peak memory of the largest process in bytes."""
    environ = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    before = loopback_bytes()
    processes = [subprocess.Popen(c, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) for c in commands]
    ends = [os.wait4(process.pid, 0) for process in processes]  # counts what a process waited for, ranks of msrun too
    if any(status for _, status, _ in ends):
        sys.exit(f"failed: {commands}")
    return loopback_bytes() - before, max(1024 * usage.ru_maxrss for _, _, usage in ends)


def milliseconds(folder, images):
    """Median time of `images` images."""
    records = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(1000 * images / record["images_per_second"] for record in records[2:])


def row(name, time, sent=None, memory=None):
    sent = "" if sent is None else f"{sent / 1e6:.2f}"
    memory = "" if memory is None else f"{memory / 1e6:.0f}"
    print(f"| {name} | {time:.0f} | {sent} | {memory} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--image_resize", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32, help="images of a global batch; even")
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    batch, half = options.batch, options.batch // 2
    times = {}
    print(f"{options.model}, {options.image_resize} px, {batch} images a global batch, {os.cpu_count()} cores\n")
    print("| | ms a global batch | MB sent a rank and step | peak MB a process |")
    print("|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as temporary:

        def one(name, size, *flags):
            _, memory = run([sys.executable, *command(options, f"{temporary}/{name}", size, *flags)])
            times[name] = milliseconds(f"{temporary}/{name}", batch)
            row(name, times[name], memory=memory)

        def two(name, *flags):
            msrun = ["msrun", "--worker_num=2", "--local_worker_num=2", "--master_port=8231", "--join=True"]
            folder = f"{temporary}/{name}"
            sent, memory = run([*msrun, f"--log_dir={folder}_log", *command(options, folder, half, *flags)])
            times[name] = milliseconds(folder, batch)
            row(name, times[name], sent / 2 / options.steps, memory)

        one("one rank", batch)
        one("one rank, dynamic loss scale", batch, "--loss_scale_type", "dynamic", "--loss_scale", "1024")
        one("one rank, batches of half the size", half)
        one("the same, two accumulated", half, "--gradient_accumulation_steps", "2")
        folders = [f"{temporary}/alone{number}" for number in range(2)]
        _, memory = run(*([sys.executable, *command(options, folder, half)] for folder in folders))
        alone = "two processes that know nothing of each other"
        times[alone] = max(milliseconds(folder, half) for folder in folders)
        row(alone, times[alone], memory=memory)
        two("two ranks, sync_bn off", "--sync_bn", "False")
        two("two ranks")
    share = 1 - times[alone] / times["two ranks"]
    print(f"\ntwo ranks: {100 * share:.0f}% of a step is spent on communication and on waiting for each other")


if __name__ == "__main__":
    main()
