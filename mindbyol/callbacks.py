"""What a run says while it goes on, and when it must stop."""

import contextlib
import json
import logging
import math
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

logger = logging.getLogger(__name__)

# Projections whose spread falls below this share of 1 / sqrt(d) no longer tell images apart.
COLLAPSE = 0.1

# After so many overflows in a row at one loss scale, no step to come will be different.
MOST_OVERFLOWS = 10


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite, or the gradients of all steps are."""


def setup_logging(folder=None, rank=0):
    """Log lines on the terminal, of rank 0 alone, and in the folder's rank{r}.log, one a rank.

    Args:
        folder (Path): Where to append rank{r}.log; None while it is not known.
        rank (int): Number of this process.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    handlers = [_TerminalHandler()] if rank == 0 else []
    if folder is not None:
        handlers.append(_LogFile(Path(folder) / f"rank{rank}.log"))
    formatter = logging.Formatter("[%(asctime)s] %(name)s %(levelname)s - %(message)s", "%Y-%m-%d %H:%M:%S")
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(logging.INFO)


class StopSignals:
    """SIGTERM and SIGINT ask for a stop at the next step; a second one stops at once.

    Attributes:
        received (str or None): Name of the signal that came.
    """

    def __init__(self):
        self.received = None

    def __enter__(self):
        self._before = {number: signal.signal(number, self._take) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number, _):
        for again in self._before:  # needs no Python to run, which a long step on the device would keep waiting
            signal.signal(again, signal.SIG_DFL)
        self.received = signal.Signals(number).name
        # Not by the log: the signal may have come in the middle of a line of it, and files are not reentrant.
        os.write(2, f"\n{self.received}: saving after this step, then stopping; once more stops at once\n".encode())


class _TerminalHandler(logging.Handler):
    """Writes above a progress bar, when there is one, instead of through it."""

    def emit(self, record):
        tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()


class _LogFile(logging.FileHandler):
    """Says once that it cannot be written to, instead of a traceback a line: a run need not end for its log."""

    failed = False

    def handleError(self, record):
        if not self.failed:
            self.failed = True
            print(f"{self.baseFilename} cannot be written: {sys.exc_info()[1]}", file=sys.stderr)


class TrainLog:
    """Log lines, the progress bar and metrics.jsonl; stops the run when the loss is no number any more.

    The values of a step stay on the device until a line is due, so that the host need not wait for every step.

    Args:
        folder (Path): Where metrics.jsonl is.
        names (sequence[str]): What a step's statistics are, in order.
        plan (Plan): Steps and images of the run.
        epochs (int): Epochs of the run.
        log_interval (int): Optimizer steps between lines.
        projection_size (int): d, for the 1 / sqrt(d) that healthy projections spread by.
        start_step (int): Optimizer steps done before this log starts.
        earlier (dict): The `state` of the log of a run that goes on; None for a new one.
        rank (int): Only rank 0 writes metrics and has a bar; the others look at the loss as well.
    """

    def __init__(
        self,
        folder,
        names,
        plan,
        epochs,
        log_interval,
        projection_size,
        start_step=0,
        earlier=None,
        rank=0,
    ):
        self.names = names
        self.plan = plan
        self.epochs = epochs
        self.log_interval = log_interval
        self.healthy_std = 1 / math.sqrt(projection_size)
        self.metrics = open(Path(folder) / "metrics.jsonl" if rank == 0 else os.devnull, "a")
        self.bar = tqdm(
            total=plan.total_steps,
            initial=start_step,
            unit="step",
            disable=rank > 0 or not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        self.step = start_step
        earlier = earlier or {"pending": [], "overflows": 0.0, "seconds": 0.0, "line_seconds": 0.0, "line_wait": 0.0}
        now = time.perf_counter()
        self.pending = earlier["pending"]
        self.last_overflows = earlier["overflows"]
        self.started = now - earlier["seconds"]
        self.last_time = now - earlier["line_seconds"]
        self.wait, self.last_wait = 0.0, -earlier["line_wait"]
        self.last_scale, self.overflows_in_a_row = None, 0

    @property
    def state(self):
        """All that the lines to come are made of, as JSON can hold it; waits for the device.

        Raises:
            NonFiniteLoss: A loss since the last line is not finite: a checkpoint of it would be worth nothing.
        """
        now = time.perf_counter()
        values = self._values()
        if values:
            self._stop_unless_finite(np.array(values))
        return {
            "pending": values,
            "overflows": self.last_overflows,
            "seconds": now - self.started,
            "line_seconds": now - self.last_time,
            "line_wait": self.wait - self.last_wait,
        }

    def _values(self):
        return [[float(value) for value in values] for values in self.pending]

    def add(self, loss, statistics):
        """Takes the results of one batch.

        Args:
            loss (Tensor): What was differentiated.
            statistics (tuple[Tensor]): In the order of `names`.
        """
        self.pending.append((loss, *statistics))

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
        if self.step % self.log_interval == 0 or step + 1 == self.plan.steps_per_epoch:
            self._line(epoch + 1, step + 1)

    def _line(self, epoch, batch):
        values = np.array(self._values())
        steps = len(values) / self.plan.accumulation
        self._stop_unless_finite(values)
        now = time.perf_counter()
        seconds, waited = now - self.last_time, self.wait - self.last_wait
        self.last_time, self.last_wait = now, self.wait
        last = dict(zip(self.names, values[-1, 1:]))
        mean = dict(zip(self.names, values[:, 1:].mean(0)), loss=values[:, 0].mean())
        record = {
            "epoch": epoch,
            "step": self.step,
            **{name: round(float(mean[name]), 6) for name in ("loss", *self.names)},
            **{name: float(last[name]) for name in ("loss_scale", "overflows") if name in last},
            "tau": round(float(last["tau"]), 8),
            "lr": float(f"{last['lr']:.6g}"),
            "images_per_second": round(steps * self.plan.effective_batch / seconds, 2),
            "data_wait_share": round(waited / seconds, 4),
            "eta_seconds": round((self.plan.total_steps - self.step) * seconds / steps),
        }
        try:
            self.metrics.write(json.dumps(record) + "\n")
            self.metrics.flush()
        except OSError as error:
            raise OSError(f"cannot write '{self.metrics.name}': {error.strerror}") from error
        probe = f"probe: {100 * record['probe_accuracy']:.1f}%, " if "probe_accuracy" in record else ""
        logger.info(
            f"Epoch: [{epoch}/{self.epochs}], batch: [{batch}/{self.plan.steps_per_epoch}], "
            f"loss: {record['byol_loss']:.4f}, {probe}lr: {record['lr']:.5f}, tau: {record['tau']:.5f}, "
            f"std: {record['projection_std']:.4f} (1/sqrt(d): {self.healthy_std:.4f}), "
            f"img/s: {record['images_per_second']:.1f}, data: {100 * record['data_wait_share']:.1f}%, "
            f"time: {seconds:.3f}s, eta: {_clock(record['eta_seconds'])}"
        )
        if last.get("overflows", 0) > self.last_overflows:
            logger.warning(
                f"overflow: {last['overflows'] - self.last_overflows:.0f} steps left out since the last line, "
                f"{last['overflows']:.0f} since the run began; the loss scale is {last['loss_scale']:g}"
            )
        self._stop_if_all_overflow(values, last)
        self.last_overflows = last.get("overflows", 0.0)
        if record["projection_std"] < COLLAPSE * self.healthy_std:
            logger.warning(
                f"collapse: the projections of different images are nearly equal (std {record['projection_std']:.5f}, "
                f"healthy about {self.healthy_std:.4f}). The loss is low because nothing is told apart; try a higher "
                "--base_tau, a smaller --base_lr, or a larger --batch_size"
            )
        self.pending.clear()

    def _stop_unless_finite(self, values):
        finite = np.isfinite(values[:, 0])
        if not finite.all():
            bad = int(np.argmin(finite))
            step = self.step - (len(values) - 1 - bad) // self.plan.accumulation
            raise NonFiniteLoss(
                f"the loss is {values[bad, 0]} at step {step}: "
                "the run stops. Checkpoints from before it are good; try a smaller --base_lr (or --lr), a longer "
                "--warmup_epochs, or look at the images"
            )

    def _stop_if_all_overflow(self, values, last):
        """Stops a run in which every step overflows at a loss scale that does not change."""
        if "overflows" not in last:
            return
        steps = len(values) / self.plan.accumulation
        same = (values[:, 1 + self.names.index("loss_scale")] == last["loss_scale"]).all()
        all_left_out = same and last["overflows"] - self.last_overflows >= steps
        if all_left_out and self.last_scale in (None, last["loss_scale"]):
            self.overflows_in_a_row += int(steps)
        else:
            self.overflows_in_a_row = 0
        self.last_scale = last["loss_scale"]
        if self.overflows_in_a_row >= MOST_OVERFLOWS:
            raise NonFiniteLoss(
                f"the last {self.overflows_in_a_row} steps overflowed at a loss scale of {self.last_scale:g} and were "
                "left out: nothing is learned any more. Try a smaller --loss_scale, or --loss_scale_type dynamic"
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
        with contextlib.suppress(OSError):  # a full disk, of which the last line has told
            self.metrics.close()


def _clock(seconds):
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
