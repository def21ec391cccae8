"""What a run must remember to go on as if it had never stopped, and the folder it remembers it in."""

import fcntl
import json
import logging
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import mindspore as ms

import mindbyol
from mindbyol import checkpoint
from mindbyol.data.sources import fingerprint
from mindbyol.files import remove_unfinished, replacing
from mindbyol.model_card import Card

logger = logging.getLogger(__name__)

# Locked output folders of this process: file descriptors, kept open until it ends.
_locks = {}

# Keys that change how fast or how loudly a run computes, but not what.
NEUTRAL = {
    "config",
    "log_interval",
    "data_dir",
    "dataset_download",
    "num_parallel_workers",
    "worker_type",
    "ckpt_path",
    "pretrained_from",
    "ckpt_save_dir",
    "ckpt_save_interval",
    "ckpt_save_steps",
    "keep_checkpoint_max",
    "resume",
    "distribute",
    "val_split",
    "crop_pct",
    "knn_k",
    "knn_temperature",
    "baselines",
    "results",
}


def make_output_folder(folder, resume):
    """Makes the folder of a run, proves that it can be written to, and locks it for as long as the process lives.

    Args:
        folder (Path): The folder.
        resume (str): `newest` or the checkpoint with which an earlier run goes on; None for a new one, which must not
            mix its checkpoints with another's.

    Raises:
        OSError: It cannot be written to.
        ValueError: It holds checkpoints, and the run is a new one; it holds a run, and the checkpoint to go on from
            lies elsewhere; or another process trains into it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"ckpt_save_dir: cannot write to '{folder}' ({error.strerror})") from error
    if resume not in (None, False, True, "newest") and Path(resume).resolve().parent != folder.resolve():
        found = [name for name in ("config.yaml", "metrics.jsonl") if (folder / name).exists()]
        found += [file.name for file in folder.glob("*.ckpt") if not file.name.startswith(".")]
        if found:
            raise ValueError(
                f"resume: '{resume}' is not in ckpt_save_dir, and '{folder}' holds {found[0]} of another run: "
                "choose another folder to go on in"
            )
    _lock(folder)
    remove_unfinished(folder)  # of a run that was killed while it wrote
    if not resume and any(folder.glob("*.ckpt")):
        go_on = "--resume goes on with it; for a new run " if holds_run(folder) else ""
        raise ValueError(
            f"ckpt_save_dir: '{folder}' holds the checkpoints of an earlier run: {go_on}"
            "choose another folder, or empty this one"
        )
    metrics = folder / "metrics.jsonl"
    if not resume and metrics.exists():  # of a run that ended before its first checkpoint
        metrics.replace(folder / "metrics.jsonl.old")


def holds_run(folder):
    """Whether a folder has a full checkpoint, with which `--resume` can go on.

    Args:
        folder (Path): It need not exist.
    """
    names = [file.name for file in Path(folder).glob("*.ckpt")]
    return any(not name.startswith(".") and not name.endswith("_backbone.ckpt") for name in names)


def _lock(folder):
    if folder in _locks:
        os.close(_locks.pop(folder))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(f"ckpt_save_dir: another process trains into '{folder}' now; choose another folder") from None
    except OSError:  # a file system without locks
        pass
    _locks[folder] = descriptor


class RunState:
    """The state of a run on the device and on the host, to and from checkpoints.

    Args:
        folder (Path): Where checkpoints go.
        args (Namespace): The recipe.
        step (BYOLTrainOneStep): Its parameters are the device's state: networks, optimizer, counters, loss scale.
        source (Source): The training data; a run goes on with the same only.
        plan (Plan): Steps of the run.
        world (World): Devices that train together.

    Attributes:
        steps (int): Optimizer steps since the run began, those left out for an overflow included.
        log (dict): What the log had to remember when the state was saved; None in a new run.
    """

    def __init__(self, folder, args, step, source, plan, world):
        self.folder = Path(folder)
        self.args = args
        self.step = step
        self.plan = plan
        self.steps = 0
        self.log = None
        self.config = {key: value for key, value in vars(args).items() if key not in NEUTRAL}
        self.config.update(  # as they came out, whatever the recipe left open
            device_target=world.target,
            devices=world.ranks,
            gradient_accumulation_steps=plan.accumulation,
            effective_batch=plan.effective_batch,
        )
        self.data = source.description
        self.images = fingerprint(source)

    @property
    def epoch(self):
        """The epoch that the last step belongs to, counted from 1."""
        return -(-self.steps // self.plan.steps_per_epoch)

    @property
    def name(self):
        """What the checkpoints of this moment are called."""
        return f"{self.args.model}-{self.epoch}_{self.steps}"

    @property
    def backbone(self):
        """Path of the backbone-only checkpoint of this moment."""
        return self.folder / f"{self.name}_backbone.ckpt"

    def save(self, log):
        """Writes the full checkpoint and the backbone-only one, then deletes the oldest beyond `keep_checkpoint_max`.

        Args:
            log (dict): What the log must remember; see `TrainLog.state`.

        Raises:
            OSError: The disk is full, say; the checkpoints before stay as they are.
            NonFinite: Some values are not finite; nothing is written, and the checkpoints before stay.
        """
        arrays = {p.name: p.asnumpy() for p in self.step.lasting_parameters()}
        checkpoint.check_finite(arrays, f"nothing is saved at step {self.steps}, and the run stops")
        card = Card(
            model=self.args.model,
            stem=self.args.stem,
            padding=self.args.padding,
            stages=self.args.stages,
            image_resize=self.args.image_resize,
            mean=self.args.mean,
            std=self.args.std,
            recipe=Path(self.args.config).name if self.args.config else None,
            data=self.data,
            epoch=self.epoch,
            step=self.steps,
            epoch_size=self.args.epoch_size,
            mindbyol=mindbyol.__version__,
            mindspore=ms.__version__,
        )
        backbone = checkpoint.online_backbone(arrays)
        names = self.step.network.online.backbone.mindcv_names
        checkpoint.write(self.backbone, checkpoint.to_mindcv(backbone, names), replace(card, kind="backbone"))
        run = {"log": log, "config": self.config, "images": self.images}
        checkpoint.write(self.folder / f"{self.name}.ckpt", arrays, replace(card, kind="byol", run=run))
        for file in self._full()[self.args.keep_checkpoint_max :]:
            file.unlink()
            file.with_name(f"{file.stem}_backbone.ckpt").unlink(missing_ok=True)

    def restore(self, which):
        """Puts a saved state back.

        Args:
            which (str): `newest`, the newest good checkpoint of the folder, or the path of a full one.

        Returns:
            Path: What was restored.

        Raises:
            FileNotFoundError: There is no checkpoint.
            ValueError: None is good, it is not a full one, or the recipe or the data are not those it was made with.
        """
        path, arrays, card = self._newest() if which == "newest" else (Path(which), *checkpoint.read(which))
        if card.run is None:
            raise ValueError(f"resume: '{path}' is no full checkpoint of a run; --ckpt_path starts from weights")
        run = card.run
        changed = [key for key in {**run["config"], **self.config} if run["config"].get(key) != self.config.get(key)]
        if changed:
            changes = ", ".join(f"{key} {run['config'].get(key)} -> {self.config.get(key)}" for key in sorted(changed))
            raise ValueError(f"resume: '{path}' was made with another recipe, and results would change: {changes}")
        if card.data != self.data:
            raise ValueError(f"resume: '{path}' was made with {card.data}, not with {self.data}")
        images = run.get("images", {})  # runs of earlier versions did not note them
        changed = [what for what in images if images[what] != self.images.get(what)]
        if changed:
            raise ValueError(
                f"resume: '{path}' was made with other images than {self.data}: their number is the same, "
                f"their {' and '.join(changed)} are not"
            )
        if not self.plan.total_steps >= card.step >= 0:
            raise ValueError(f"resume: '{path}' is at step {card.step} of a run of {self.plan.total_steps}")
        checkpoint.check_finite(arrays, path)
        checkpoint.load_parameters({p.name: p for p in self.step.lasting_parameters()}, arrays, path)
        self.steps, self.log = card.step, run["log"]
        return path

    def forget_later_metrics(self):
        """Drops the lines of metrics.jsonl that a run wrote after the state it goes on from."""
        file = self.folder / "metrics.jsonl"
        if file.exists():
            lines = []
            for line in file.read_text().splitlines(keepends=True):
                try:
                    if json.loads(line)["step"] <= self.steps:
                        lines.append(line)
                except (ValueError, KeyError, TypeError):  # cut off in the middle by a kill, say
                    pass
            with replacing(file) as beside:
                beside.write_text("".join(lines))

    def digest(self):
        """Of everything on the device."""
        return checkpoint.digest({p.name: np.atleast_1d(p.asnumpy()) for p in self.step.lasting_parameters()})

    def _full(self):
        """Full checkpoints, the one with the most steps first; times of files do not survive a copy."""
        pattern = re.compile(re.escape(self.args.model) + r"-\d+_(\d+)\.ckpt")
        found = [(pattern.fullmatch(file.name), file) for file in self.folder.iterdir()]
        steps = {file: int(match[1]) for match, file in found if match}
        return sorted(steps, key=steps.get, reverse=True)

    def _newest(self):
        files = self._full()
        if not files:
            raise FileNotFoundError(f"resume: no checkpoint of {self.args.model} in '{self.folder}'")
        for path in files:
            try:
                arrays, card = checkpoint.read(path)
                checkpoint.check_finite(arrays, path)
                return path, arrays, card
            except ValueError as error:
                logger.warning(f"resume: {error}; trying the one before")
        raise ValueError(f"resume: none of the {len(files)} checkpoints in '{self.folder}' can be read")
