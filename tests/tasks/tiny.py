"""Running tiny_train.py as a user runs train.py: on scikit-learn's digits, on one process or under msrun."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from mindbyol import checkpoint

ROOT = Path(__file__).parents[2]
TRAIN = str(Path(__file__).parent / "tiny_train.py")
VALIDATE = str(Path(__file__).parent / "tiny_validate.py")
RECIPE = {
    "task": "byol",
    "dataset": "digits",
    "hflip": 0,
    "color_jitter_prob": 0,
    "grayscale_prob": 0,
    "blur_prob": 0.5,
    "solarize_prob": 0,
    "crop_pct": 1,
    "model": "tiny",
    "image_resize": 16,
    "base_tau": 0.98,
    "base_lr": 0.5,
    "num_samples": 160,
    "batch_size": 32,
    "epoch_size": 4,
    "warmup_epochs": 0,
    "projector_hidden_size": 32,
    "projection_size": 16,
    "predictor_hidden_size": 32,
    "log_interval": 1,
    "val_while_train": False,  # has tests of its own; here it would be one more graph a run
    "num_parallel_workers": 1,
    "report": False,
}


def arguments(folder, resume=False, script=TRAIN, **recipe):
    """A key that is None is left out."""
    argv = [script, *(["--resume"] if resume is True else []), "--ckpt_save_dir", str(folder)]
    recipe = {**recipe, **({"resume": resume} if isinstance(resume, str) else {})}
    for key, value in {**RECIPE, **recipe}.items():
        argv += [] if value is None else [f"--{key}", *str(value).split()]
    return argv


def start(folder, **recipe):
    """One process, not waited for."""
    return subprocess.Popen(
        [sys.executable, *arguments(folder, **recipe)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(folder, code=0, **recipe):
    """One process to its end: what it printed."""
    process = start(folder, **recipe)
    output = process.communicate()[0]
    assert process.returncode == code, output
    return output


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start_ranks(command, folder, recipe):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.Popen(
        [*command, *arguments(folder, **recipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
    )


def start_msrun(folder, ranks=2, **recipe):
    """Several processes on this machine; worker logs go beside `folder`."""
    command = ["msrun", f"--worker_num={ranks}", f"--local_worker_num={ranks}", f"--master_port={free_port()}"]
    command += [f"--log_dir={folder}_log", "--join=True", "--cluster_time_out=120"]
    return _start_ranks(command, folder, recipe)


def start_launcher(folder, ranks=2, **recipe):
    """The same by the launch script."""
    command = ["env", f"MASTER_PORT={free_port()}", f"LOG_DIR={folder}_log"]
    command += ["bash", "scripts/run_distribute_train_ascend.sh", str(ranks)]
    return _start_ranks(command, folder, recipe)


def run_msrun(folder, ranks=2, code=0, **recipe):
    process = start_msrun(folder, ranks, **recipe)
    output = process.communicate()[0]
    assert process.returncode == code, output
    return output


def metrics(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def newest(folder):
    """Arrays of the full checkpoint with the most steps."""
    files = [file for file in Path(folder).glob("tiny-*.ckpt") if "backbone" not in file.name]
    return checkpoint.read(max(files, key=lambda file: int(file.stem.split("_")[1])))[0]


def rank_pids(folder):
    """Process ids by rank, as the log of a run names them."""
    found = re.findall(r"rank (\d+): process (\d+)", (Path(folder) / "rank0.log").read_text())
    return {int(rank): int(pid) for rank, pid in found}
