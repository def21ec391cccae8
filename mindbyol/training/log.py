"""What a run says while it goes on: log lines, the progress bar, metrics.jsonl, and what TensorBoard reads."""

import contextlib
import json
import logging
import math
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from mindspore import ops

from mindbyol.terminal import COLUMNS
from mindbyol.training.event_files import EventFile

logger = logging.getLogger(__name__)


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite, or the gradients of all steps are."""


class Line(NamedTuple):
    """What is known when a log line is due; what watchers look at.

    Attributes:
        values (dict[str, ndarray]): `loss` and each statistic, float64, one number a batch since the line before.
        means (dict[str, float]): Their means.
        last (dict[str, float]): Those of the last batch.
        steps (float): Optimizer steps since the line before; not whole where a run was interrupted in one.
    """

    values: dict
    means: dict
    last: dict
    steps: float


class TrainLog:
    """Log lines, the progress bar and metrics.jsonl; stops the run when the loss is no number any more.

    The values of a step stay on the device until a line is due, so that the host need not wait for every step.

    Args:
        folder (Path): Where metrics.jsonl is.
        step (TrainOneStep): `statistics` names the numbers that it returns, `states` those of them that are not means
            over a batch, but what the step was made with.
        plan (Plan): Steps and images of the run.
        log_interval (int): Optimizer steps between lines; the last step of an epoch, and of the run, has one, too.
        shown (dict[str, str]): What a line says of the statistics, in order: a format such as "lr: {:.5f}". Of one that
            the step does not return nothing is said. What does not fit into a line is left out, the last first;
            metrics.jsonl has them all. The bar has the first two.
        watchers (sequence): Each has `look(line)`, called with each `Line` after it is written, and `state`, what JSON
            must hold of it in a checkpoint; a watcher warns, or raises NonFiniteLoss.
        done (int): Optimizer steps done before this log starts.
        earlier (dict): The `state` of the log of a run that goes on; None for a new one.
        rank (int): Only rank 0 writes metrics and has a bar; the others look at the loss as well.
        measures (Measures): Says of the last step before a line what the step does not return; None for nothing.
        tensorboard (bool): Whether all that metrics.jsonl gets goes to an event file, too.
    """

    def __init__(
        self,
        folder,
        step,
        plan,
        log_interval,
        shown,
        watchers=(),
        done=0,
        earlier=None,
        rank=0,
        measures=None,
        tensorboard=False,
    ):
        self.names = ("loss", *step.statistics)
        self.states = step.states
        self.plan = plan
        self.log_interval = log_interval
        self.shown = shown
        self.watchers = watchers
        self.measures = measures
        self.events = EventFile(folder) if tensorboard and rank == 0 else None
        self.metrics = open(Path(folder) / "metrics.jsonl" if rank == 0 else os.devnull, "a")
        self.bar = tqdm(
            total=plan.total_steps,
            initial=done,
            unit="step",
            disable=rank > 0 or not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        self.step = done
        earlier = earlier or {"pending": [], "seconds": 0.0, "line_seconds": 0.0, "line_wait": 0.0}
        now = time.perf_counter()
        self.earlier, self.pending = earlier["pending"], []
        self.started = now - earlier["seconds"]
        self.last_time = now - earlier["line_seconds"]
        self.wait, self.last_wait = 0.0, -earlier["line_wait"]
        for watcher in watchers:
            watcher.restore(earlier)
        self._prepare_to_measure()

    @property
    def state(self):
        """All that the lines to come are made of, as JSON can hold it; waits for the device.

        Raises:
            NonFiniteLoss: A loss since the last line is not finite: a checkpoint of it would be worth nothing.
        """
        now = time.perf_counter()
        values = self._values()
        if values:
            self._stop_unless_finite(np.array(values)[:, 0])
        state = {
            "pending": list(values),
            "seconds": now - self.started,
            "line_seconds": now - self.last_time,
            "line_wait": self.wait - self.last_wait,
        }
        for watcher in self.watchers:
            state.update(watcher.state)
        return state

    def _values(self):
        """One row a batch since the last line, `loss` first; the device is asked twice, however many there are."""
        if self.pending:
            losses, statistics = (ops.stack(tensors).asnumpy() for tensors in zip(*self.pending))
            self.earlier += np.column_stack((losses, statistics)).tolist()
            self.pending.clear()
        return self.earlier

    def add(self, loss, statistics):
        """Takes the results of one batch.

        Args:
            loss (Tensor): What was differentiated, a scalar.
            statistics (Tensor): In the order of the step's `statistics`, (S,).
        """
        self.pending.append((loss, statistics))

    def end_step(self, wait):
        """Counts an optimizer step, and writes a line when one is due.

        Args:
            wait (float): Seconds spent waiting for data since this log began.

        Raises:
            NonFiniteLoss: At a line that is due; it names the step.
        """
        self.step += 1
        self.wait = wait
        self.bar.update()
        epoch, step = divmod(self.step - 1, self.plan.steps_per_epoch)
        if self._line_is_due(self.step):
            self._write_line(epoch + 1, step + 1)
        self._prepare_to_measure()

    def _line_is_due(self, step):
        return step % self.log_interval == 0 or step % self.plan.steps_per_epoch == 0 or step == self.plan.total_steps

    def _prepare_to_measure(self):
        if self.measures and self._line_is_due(self.step + 1):
            self.measures.before_step()

    def _write_line(self, epoch, batch):
        values = np.array(self._values())
        self._stop_unless_finite(values[:, 0])
        line = Line(
            dict(zip(self.names, values.T)),
            dict(zip(self.names, values.mean(0).tolist())),
            dict(zip(self.names, values[-1].tolist())),
            len(values) / self.plan.accumulation,
        )
        now = time.perf_counter()
        seconds, waited = now - self.last_time, self.wait - self.last_wait
        self.last_time, self.last_wait = now, self.wait
        record = {
            "epoch": epoch,
            "step": self.step,
            **{name: round(mean, 6) for name, mean in line.means.items() if name not in self.states},
            **{name: float(f"{line.last[name]:.8g}") for name in self.states},
            **self._measured(),
            "images_per_second": round(line.steps * self.plan.effective_batch / seconds, 2),
            "data_wait_share": round(waited / seconds, 4),
            "eta_seconds": round((self.plan.total_steps - self.step) * seconds / line.steps),
        }
        self._write(record)
        place = f"Epoch: [{epoch}/{self.plan.epochs}], batch: [{batch}/{self.plan.steps_per_epoch}]"
        shown = [text.format(record[name]) for name, text in self.shown.items() if name in record]
        speed = [f"img/s: {record['images_per_second']:.0f}", f"data: {record['data_wait_share']:.0%}"]
        logger.info(_fitting([place, *shown[:4], f"eta: {_clock(record['eta_seconds'])}", *speed, *shown[4:]]))
        self.bar.set_postfix_str(", ".join(shown[:2]), refresh=False)
        for watcher in self.watchers:
            watcher.look(line)
        self.earlier.clear()

    def add_scores(self, scores):
        """Takes the scores of the epoch that has just ended, or been cut off.

        Args:
            scores (dict[str, float]): In percent.
        """
        epoch = math.ceil(self.step / self.plan.steps_per_epoch)
        named = {f"val_{name}": round(value, 4) for name, value in scores.items()}
        self._write({"epoch": epoch, "step": self.step, **named})
        shown = [f"{name}: {value:.2f}%" for name, value in scores.items()]
        logger.info(_fitting([f"Validation: [{epoch}/{self.plan.epochs}]", *shown]))

    def _measured(self):
        """Of the last step; what is not finite, as after an overflow, is left out: JSON has no such number."""
        found = self.measures.after_step() if self.measures else {}
        return {name: float(f"{value:.6g}") for name, value in found.items() if math.isfinite(value)}

    def _write(self, record):
        try:
            self.metrics.write(json.dumps(record) + "\n")
            self.metrics.flush()
            if self.events:
                self.events.add(record)
        except OSError as error:
            raise OSError(f"cannot write '{self.metrics.name}': {error.strerror}") from error

    def _stop_unless_finite(self, losses):
        finite = np.isfinite(losses)
        if not finite.all():
            bad = int(np.argmin(finite))
            step = self.step - (len(losses) - 1 - bad) // self.plan.accumulation
            raise NonFiniteLoss(
                f"the loss is {losses[bad]} at step {step}: "
                "the run stops. Checkpoints from before it are good; try a smaller --base_lr (or --lr), a longer "
                "--warmup_epochs, or look at the images"
            )

    @contextlib.contextmanager
    def paused(self):
        """Leaves what happens in the block, writing a checkpoint, out of img/s and ETA."""
        started = time.perf_counter()
        yield
        self.last_time += time.perf_counter() - started

    @property
    def seconds(self):
        """Since the run began."""
        return time.perf_counter() - self.started

    def close(self):
        self.bar.close()
        for file in (self.metrics, self.events) if self.events else (self.metrics,):
            with contextlib.suppress(OSError):  # a full disk, of which the last line has told
                file.close()


def _fitting(parts):
    """A log line of as many of its parts as the terminal's columns hold, from the first on."""
    line, *rest = parts
    for part in rest:
        if len(line) + len(", ") + len(part) > COLUMNS:
            break
        line += f", {part}"
    return line


def _clock(seconds):
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
