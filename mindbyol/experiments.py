"""Several training runs that belong together: one after the other, each in a folder of its own, goes on where it was.

A run is what `train.py` does with some flags. Its scores are those of its last epoch, never the best of all epochs: the
images that are scored must not choose the weights.
"""

import json
import logging
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from mindbyol.files import replacing

logger = logging.getLogger(__name__)

TRAIN = (sys.executable, "-c", "from mindbyol.commands.train import main; main()")
_STOPPED = 75  # train.py was interrupted, and has saved its state


class Stopped(RuntimeError):
    """A run was interrupted; the same command goes on."""


class Runs:
    """Training runs under one folder.

    Args:
        folder (Path): Each run has a folder in it.
        command (sequence[str]): What trains; `train.py` in this interpreter by default.
    """

    def __init__(self, folder, command=TRAIN):
        self.folder = Path(folder)
        self.command = list(command)

    def train(self, name, *flags):
        """Trains, unless the run is finished already; goes on with one that is not.

        Args:
            name (str): Of the run's folder.
            *flags (str): Of train.py, without `--ckpt_save_dir` and `--resume`.

        Returns:
            Path: The run's folder. What train.py prints is in its `train.log`.

        Raises:
            ValueError: The folder holds a run with other flags.
            Stopped: The run was interrupted.
            RuntimeError: It failed; the message says where its output is.
        """
        folder, flags = self.folder / name, list(flags)
        note = folder / "run.json"
        if note.exists():
            known = json.loads(note.read_text())
            if known["flags"] != flags:
                raise ValueError(
                    f"output: {folder} holds a run with other flags ({shlex.join(known['flags'])}): name another folder"
                )
            if known["finished"]:
                logger.info(f"{name}: finished already")
                return folder
        folder.mkdir(parents=True, exist_ok=True)
        _write(note, {"flags": flags, "finished": False})
        logger.info(f"{name}: train.py {shlex.join(flags)}")
        with open(folder / "train.log", "ab") as log:
            command = [*self.command, *flags, "--ckpt_save_dir", str(folder), "--resume", "auto"]
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
        if code == _STOPPED:
            raise Stopped(f"{name} was stopped; the same command goes on")
        if code:
            last = (folder / "train.log").read_text(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"{name}: train.py ended with {code} ({last}); all that it said is in {log.name}")
        _write(note, {"flags": flags, "finished": True})
        return folder


def _write(path, content):
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n")


def curve(folder):
    """The scores of a run on its way.

    Args:
        folder (Path): Of a run of a task that validates while it trains.

    Returns:
        list[dict[str, float]]: `epoch`, `top1`, `top5` and `mean_per_class`, the last for the whole run.
    """
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    scored = [line for line in lines if "val_top1" in line]
    return [{name.replace("val_", ""): value for name, value in line.items()} for line in scored]


def backbone(folder):
    """The backbone that a finished run of BYOL ended with."""
    found = Path(folder).glob("*_backbone.ckpt")
    return str(max(found, key=lambda file: int(file.stem.split("_")[-2])))


def mean_and_spread(values):
    """Mean and standard deviation, that of a sample (n - 1); the latter is 0 of a single value."""
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


def shown(values):
    """`71.85 ± 0.40` of several values, `71.85` of one."""
    mean, spread = mean_and_spread(values)
    return f"{mean:.2f} ± {spread:.2f}" if len(values) > 1 else f"{mean:.2f}"


def table(header, rows):
    """A Markdown table; all cells are text."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(path, lines, x_label, y_label, logarithmic=False):
    """Lines with their spread, as a PNG.

    Args:
        path (Path): The file.
        lines (dict[str, tuple]): Name of a line to its x values and, for each, a list of y values.
        x_label, y_label (str): What the axes are.
        logarithmic (bool): The x axis is.
    """
    from mindbyol.reports import drawing  # and with it matplotlib, which training runs do not wait for

    means = {name: (x, *zip(*map(mean_and_spread, values))) for name, (x, values) in lines.items()}
    drawing.save(drawing.spread_lines(means, x_label, y_label, logarithmic, width=5.0, height=3.4), path)
