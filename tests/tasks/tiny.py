"""Running tiny_train.py as a user runs train.py: on scikit-learn's digits, on one process or under msrun."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from mindbyol import checkpoint

ROOT = Path(__file__).parents[2]
TRAIN = str(Path(__file__).parent / "tiny_train.py")
RECIPE = {
    "config": ROOT / "configs/byol/byol_resnet18_digits_cpu.yaml",
    "model": "tiny",
    "stem": "imagenet",
    "image_resize": 16,
    "num_samples": 160,
    "batch_size": 32,
    "epoch_size": 4,
    "warmup_epochs": 0,
    "projector_hidden_size": 32,
    "projection_size": 16,
    "predictor_hidden_size": 32,
    "log_interval": 1,
    "num_parallel_workers": 1,
}


def arguments(folder, resume=False, **recipe):
    argv = [TRAIN, *(["--resume"] if resume else []), "--ckpt_save_dir", str(folder)]
    for key, value in {**RECIPE, **recipe}.items():
        argv += [f"--{key}", str(value)]
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


def start_msrun(folder, ranks=2, **recipe):
    """Several processes on this machine; worker logs go beside `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["msrun", f"--worker_num={ranks}", f"--local_worker_num={ranks}", f"--master_port={port}"]
    command += [f"--log_dir={folder}_log", "--join=True", "--cluster_time_out=120"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.Popen(
        [*command, *arguments(folder, **recipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
    )


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


def ranks(msrun):
    """Process ids of the ranks that msrun started, by rank."""
    found = {}
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            parent = int((environ.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
            node = dict(entry.split("=", 1) for entry in environ.read_text().split("\0") if "=" in entry)
        except OSError:
            continue
        if parent == msrun.pid and node.get("MS_ROLE") == "MS_WORKER":
            found[int(node["MS_NODE_ID"])] = int(environ.parent.name)
    return found
