"""What a run says while it goes on, and when it must stop."""

import contextlib
import json
import logging
import math
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

logger = logging.getLogger(__name__)

# Projections whose spread falls below this share of 1 / sqrt(d) no longer tell images apart.
COLLAPSE = 0.1


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite."""


def setup_logging(folder=None):
    """Log lines on the terminal and, once a folder is known, in its rank0.log.

    Args:
        folder (Path): Where to append rank0.log; None for the terminal alone.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    handlers = [_TerminalHandler()]
    if folder is not None:
        handlers.append(logging.FileHandler(Path(folder) / "rank0.log"))
    formatter = logging.Formatter("[%(asctime)s] %(name)s %(levelname)s - %(message)s", "%Y-%m-%d %H:%M:%S")
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(logging.INFO)


class _TerminalHandler(logging.Handler):
    """Writes above a progress bar, when there is one, instead of through it."""

    def emit(self, record):
        tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()


class TrainLog:
    """Log lines, the progress bar and metrics.jsonl; stops the run when the loss is no number any more.

    The values of a step stay on the device until a line is due, so that the host need not wait for every step.

    Args:
        folder (Path): Where metrics.jsonl is.
        names (sequence[str]): What a step's statistics are, in order.
        plan (Plan): Steps and images of the run.
        epochs (int): Epochs of the run.
        log_interval (int): Steps between lines.
        projection_size (int): d, for the 1 / sqrt(d) that healthy projections spread by.
        start_step (int): Optimizer steps done before this log starts.
    """

    def __init__(self, folder, names, plan, epochs, log_interval, projection_size, start_step=0):
        self.names = names
        self.plan = plan
        self.epochs = epochs
        self.log_interval = log_interval
        self.healthy_std = 1 / math.sqrt(projection_size)
        self.metrics = open(Path(folder) / "metrics.jsonl", "a")
        self.bar = tqdm(
            total=plan.total_steps, initial=start_step, unit="step", disable=not sys.stderr.isatty(), dynamic_ncols=True
        )
        self.step = start_step
        self.pending = []
        self.started = self.last_time = time.perf_counter()
        self.last_wait = 0.0

    def update(self, loss, statistics, wait):
        """Takes the results of one optimizer step.

        Args:
            loss (Tensor): What was differentiated.
            statistics (tuple[Tensor]): In the order of `names`.
            wait (float): Seconds spent waiting for data since the run began.

        Raises:
            NonFiniteLoss: At the next line that is due; it names the step.
        """
        self.pending.append((loss, statistics))
        self.step += 1
        self.bar.update()
        epoch, batch = divmod(self.step - 1, self.plan.steps_per_epoch)
        if self.step % self.log_interval == 0 or batch + 1 == self.plan.steps_per_epoch:
            self._line(epoch + 1, batch + 1, wait)

    def _line(self, epoch, batch, wait):
        values = np.array([[float(loss)] + [float(value) for value in statistics] for loss, statistics in self.pending])
        first = self.step - len(values)
        if not np.isfinite(values[:, 0]).all():
            bad = int(np.argmin(np.isfinite(values[:, 0])))
            raise NonFiniteLoss(
                f"the loss is {values[bad, 0]} at step {first + bad + 1}: the run stops. The last checkpoint is from "
                "before; try a smaller --base_lr (or --lr), a longer --warmup_epochs, or look at the images"
            )
        now = time.perf_counter()
        seconds, waited = now - self.last_time, wait - self.last_wait
        self.last_time, self.last_wait = now, wait
        last = dict(zip(self.names, values[-1, 1:]))
        mean = dict(zip(self.names, values[:, 1:].mean(0)), loss=values[:, 0].mean())
        record = {
            "epoch": epoch,
            "step": self.step,
            **{name: round(float(mean[name]), 6) for name in ("loss", *self.names)},
            "tau": round(float(last["tau"]), 8),
            "lr": float(f"{last['lr']:.6g}"),
            "images_per_second": round(len(values) * self.plan.effective_batch / seconds, 2),
            "data_wait_share": round(waited / seconds, 4),
            "eta_seconds": round((self.plan.total_steps - self.step) * seconds / len(values)),
        }
        self.metrics.write(json.dumps(record) + "\n")
        self.metrics.flush()
        probe = f"probe: {100 * record['probe_accuracy']:.1f}%, " if "probe_accuracy" in record else ""
        logger.info(
            f"Epoch: [{epoch}/{self.epochs}], batch: [{batch}/{self.plan.steps_per_epoch}], "
            f"loss: {record['byol_loss']:.4f}, {probe}lr: {record['lr']:.5f}, tau: {record['tau']:.5f}, "
            f"std: {record['projection_std']:.4f} (1/sqrt(d): {self.healthy_std:.4f}), "
            f"img/s: {record['images_per_second']:.1f}, data: {100 * record['data_wait_share']:.1f}%, "
            f"time: {seconds:.3f}s, eta: {_clock(record['eta_seconds'])}"
        )
        if record["projection_std"] < COLLAPSE * self.healthy_std:
            logger.warning(
                f"collapse: the projections of different images are nearly equal (std {record['projection_std']:.5f}, "
                f"healthy about {self.healthy_std:.4f}). The loss is low because nothing is told apart; try a higher "
                "--base_tau, a smaller --base_lr, or a larger --batch_size"
            )
        self.pending.clear()

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
        self.metrics.close()


def _clock(seconds):
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
