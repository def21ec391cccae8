"""What a run must remember to go on as if it had never stopped, to and from checkpoints."""

import json
import logging
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

import mindspore as ms

import mindbyol
from mindbyol import checkpoint
from mindbyol.config.keys import plain
from mindbyol.data.sources import fingerprint
from mindbyol.files import replacing
from mindbyol.model_card import Card
from mindbyol.tasks import OF_RECIPES
from mindbyol.training.run_folder import BEST

logger = logging.getLogger(__name__)


class Saved(NamedTuple):
    """A full checkpoint as it was read.

    Attributes:
        path (Path): The file.
        arrays (dict[str, ndarray]): Everything that was on the device.
        card (Card): With a `run`: what the host knew.
    """

    path: Path
    arrays: dict
    card: Card

    @classmethod
    def find(cls, folder, which, model):
        """Reads the checkpoint that a run goes on with.

        Args:
            folder (Path): Output folder of the run.
            which (str): `newest`, the newest good checkpoint of the folder, or the path of a full one.
            model (str): What the names of the folder's checkpoints begin with.

        Raises:
            FileNotFoundError: There is no checkpoint.
            ValueError: None is good, it is not a full one, or it holds values that are not finite.
        """
        saved = cls._newest(Path(folder), model) if which == "newest" else cls._read(Path(which))
        if saved.card.run is None:
            raise ValueError(f"resume: '{saved.path}' is no full checkpoint of a run; --ckpt_path starts from weights")
        return saved

    @classmethod
    def _read(cls, path):
        arrays, card = checkpoint.read(path)
        checkpoint.check_finite(arrays, path)
        return cls(path, arrays, card)

    @classmethod
    def _newest(cls, folder, model):
        files = full_checkpoints(folder, model)
        if not files:
            raise FileNotFoundError(f"resume: no checkpoint of {model} in '{folder}'")
        for path in files:
            try:
                return cls._read(path)
            except ValueError as error:
                logger.warning(f"resume: {error}; trying the one before")
        raise ValueError(f"resume: none of the {len(files)} checkpoints in '{folder}' can be read")


def full_checkpoints(folder, model):
    """Full checkpoints, the one with the most steps first; times of files do not survive a copy."""
    pattern = re.compile(re.escape(model) + r"-\d+_(\d+)\.ckpt")
    found = [(pattern.fullmatch(file.name), file) for file in folder.iterdir() if file.is_file()]
    steps = {file: int(match[1]) for match, file in found if match}
    return sorted(steps, key=steps.get, reverse=True)


class RunState:
    """How far a run has come, and its checkpoints.

    Args:
        recipe (Recipe): The recipe.
        training (Training): The task; see `training.loop`.
        plan (Plan): Steps of the run.
        world (World): Devices that train together.

    Attributes:
        steps (int): Optimizer steps since the run began, those left out for an overflow included.
        log (dict): What the log had to remember when the state was saved; None in a new run.
    """

    def __init__(self, recipe, training, plan, world):
        self.folder = Path(recipe.ckpt_save_dir)
        self.recipe = recipe
        self.training = training
        self.plan = plan
        self.steps = 0
        self.log = None
        self.config = {
            "task": recipe.task,
            **recipe.that_change_results(),
            # as they came out, whatever the recipe left open
            "device_target": world.target,
            "devices": world.ranks,
            "gradient_accumulation_steps": plan.accumulation,
            "effective_batch": plan.effective_batch,
        }
        self.images = fingerprint(training.source)

    @property
    def epoch(self):
        """The epoch that the last step belongs to, counted from 1."""
        return math.ceil(self.steps / self.plan.steps_per_epoch)

    @property
    def name(self):
        """What the checkpoints of this moment are called."""
        return f"{self.recipe.model}-{self.epoch}_{self.steps}"

    def file(self, suffix=""):
        """Path of a checkpoint of this moment: the full one, or what is written beside it under a suffix."""
        return self.folder / f"{self.name}{suffix}.ckpt"

    def save(self, step, log):
        """Writes the full checkpoint and what goes beside it, then deletes the oldest beyond `keep_checkpoint_max`.

        Args:
            step (TrainOneStep): Its lasting parameters are the device's state.
            log (dict): What the log must remember; see `TrainLog.state`.

        Raises:
            OSError: The disk is full, say; the checkpoints before stay as they are.
            NonFinite: Some values are not finite; nothing is written, and the checkpoints before stay.
        """
        arrays = self._finite(step.lasting_parameters())
        card = self._card()
        exports = self.training.exports(arrays)
        for suffix, (exported, kind) in exports.items():
            checkpoint.write(self.file(suffix), exported, replace(card, kind=kind))
        run = {"log": log, "config": self.config, "images": self.images}
        checkpoint.write(self.file(), arrays, replace(card, kind=self.recipe.task, run=run))
        for file in full_checkpoints(self.folder, self.recipe.model)[self.recipe.keep_checkpoint_max :]:
            file.unlink()
            for suffix in exports:
                file.with_name(f"{file.stem}{suffix}.ckpt").unlink(missing_ok=True)

    def save_best(self, step, scores):
        """Writes the weights of this moment, without the optimizer's state, in the place of those before.

        Args:
            step (TrainOneStep): Whose network it is.
            scores (dict[str, float]): What makes it the best; the card has them.

        Raises:
            OSError, NonFinite: As of `save`.
        """
        card = self._card()
        card = replace(card, kind=self.recipe.task, more={**card.more, "scores": scores})
        arrays = self._finite(step.network.get_parameters())
        checkpoint.write(self.folder / f"{self.recipe.model}{BEST}", arrays, card)

    def _finite(self, parameters):
        arrays = {p.name: p.asnumpy() for p in parameters}
        checkpoint.check_finite(arrays, f"nothing is saved at step {self.steps}, and the run stops")
        return arrays

    def _card(self):
        return replace(
            self.training.card(),
            recipe=Path(self.recipe.config).name if self.recipe.config else None,
            data=self.training.source.description,
            epoch=self.epoch,
            step=self.steps,
            epoch_size=self.plan.epochs,
            mindbyol=mindbyol.__version__,
            mindspore=ms.__version__,
        )

    def check_same(self, saved):
        """Makes sure that a run goes on as it began.

        Keys that change results are compared. One that the checkpoint's version did not have counts as its default; one
        that this version does not have is named in the log.

        Args:
            saved (Saved): What it goes on from.

        Raises:
            ValueError: The recipe or the data are not those that it was made with.
        """
        run = saved.card.run
        defaults = {"task": OF_RECIPES, **{name: key.default for name, key in self.recipe.keys.items()}}
        before = {name: run["config"].get(name, plain(defaults.get(name))) for name in self.config}
        changed = [name for name, value in self.config.items() if before[name] != value]
        if changed:
            changes = ", ".join(f"{name} {before[name]} -> {self.config[name]}" for name in sorted(changed))
            raise ValueError(
                f"resume: '{saved.path}' was made with another recipe, and results would change: {changes}"
            )
        for name in run["config"].keys() - self.config.keys() - self.recipe.keys.keys():
            logger.warning(
                f"resume: '{saved.path}' was made with {name} {run['config'][name]}, a key that there is no more"
            )
        data = self.training.source.description
        if saved.card.data != data:
            raise ValueError(f"resume: '{saved.path}' was made with {saved.card.data}, not with {data}")
        images = run.get("images", {})  # runs of earlier versions did not note them
        changed = [what for what in images if images[what] != self.images.get(what)]
        if changed:
            raise ValueError(
                f"resume: '{saved.path}' was made with other images than {data}: their number is the same, "
                f"their {' and '.join(changed)} are not"
            )
        if not self.plan.total_steps >= saved.card.step >= 0:
            raise ValueError(f"resume: '{saved.path}' is at step {saved.card.step} of a run of {self.plan.total_steps}")

    def restore(self, step, saved):
        """Puts a saved state back: the step's parameters, the counter, and what the log must know.

        Raises:
            ValueError: It does not fit the network, or holds no state of a log.
        """
        if not _is_log(saved.card.run["log"], 1 + len(step.statistics)):
            raise ValueError(f"resume: '{saved.path}' is damaged: its model card does not hold what a log remembers")
        checkpoint.load_parameters({p.name: p for p in step.lasting_parameters()}, saved.arrays, saved.path)
        self.steps, self.log = saved.card.step, saved.card.run["log"]

    def forget_later_metrics(self):
        """Drops the lines of metrics.jsonl that a run wrote after the state it goes on from."""
        file = self.folder / "metrics.jsonl"
        if file.exists():
            lines = []
            for line in file.read_bytes().splitlines(keepends=True):
                try:
                    if json.loads(line)["step"] <= self.steps:
                        lines.append(line)
                except (ValueError, KeyError, TypeError, RecursionError):  # cut off in the middle by a kill, say
                    pass
            with replacing(file) as beside:
                beside.write_bytes(b"".join(lines))

    @staticmethod
    def digest(step):
        """Of everything on the device."""
        return checkpoint.digest({p.name: np.atleast_1d(p.asnumpy()) for p in step.lasting_parameters()})


def _is_log(log, width):
    """Whether an object of a checkpoint is a `TrainLog.state` with so many numbers a batch, or empty.

    Beside what the log itself remembers stand numbers of its watchers.
    """

    def numbers(values):
        return all(isinstance(value, (int, float)) for value in values)

    pending = log.get("pending")
    return not log or (
        {"seconds", "line_seconds", "line_wait"} <= log.keys()
        and numbers(value for key, value in log.items() if key != "pending")
        and isinstance(pending, list)
        and all(isinstance(batch, list) and len(batch) == width and numbers(batch) for batch in pending)
    )
