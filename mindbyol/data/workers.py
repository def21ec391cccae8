"""Threads or processes that decode images and write their views straight into a batch."""

import concurrent.futures
import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
from contextlib import contextmanager

import numpy as np

from mindbyol.data.decode import BadImage, decode

logger = logging.getLogger(__name__)

WORKER_TYPES = ("thread", "process")
_MOST_REPLACEMENTS = 100


class BatchMaker:
    """Fills the rows of a batch with the views of images.

    Args:
        source (Source): Where the images are from.
        transform (callable): Writes the views of an image: `transform(image, seed, epoch, index, out=...)`.
        seed (int): Seed of the run.
        replace_bad (bool): Take the next readable image of the source for one that is not.
    """

    def __init__(self, source, transform, seed, replace_bad):
        self._source = source
        self._transform = transform
        self._seed = seed
        self._replace_bad = replace_bad

    def fill(self, batch, first_row, epoch, indices):
        """Writes the views of the images `indices` to the rows from `first_row` on.

        A replaced image keeps the random numbers of the one in whose place it stands, so that the rule does not depend
        on who does the work.

        Args:
            batch (numpy.ndarray): uint8, shape (views, batch, 3, size, size).
            first_row (int): Row of the first image.
            epoch (int): Epoch, from 0.
            indices (list[int]): Indices of the images in the source.

        Returns:
            list[tuple[int, int, dict[int, str]]]: For each replaced image its row, the index of the image that was
            used, and why those before it were not.

        Raises:
            BadImage: An image cannot be read, and is not to be replaced.
        """
        replaced = []
        for row, index in enumerate(indices, first_row):
            used, image, reasons = self._read(index)
            self._transform(image, self._seed, epoch, index, out=batch[:, row])
            if reasons:
                replaced.append((row, used, reasons))
        return replaced

    def _read(self, index):
        reasons = {}
        for step in range(_MOST_REPLACEMENTS):
            candidate = (index + step) % len(self._source)
            try:
                return candidate, decode(self._source[candidate]), reasons
            except (OSError, BadImage) as error:
                reason = str(error) or type(error).__name__
                if not self._replace_bad:
                    raise BadImage(f"{self._source.name(candidate)}: {reason}") from error
                reasons[candidate] = reason
        first, last = self._source.name(index), self._source.name(candidate)
        raise BadImage(f"{len(reasons)} images in a row, from {first} to {last}, cannot be read ({reason})")


def default_workers(ranks=1):
    """Number of workers that suits the machine: the cores, shared by the ranks on it, at most 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(16, cores // min(ranks, 8)))


class ThreadWorkers:
    """Threads of this process. Each batch is a new array.

    Args:
        maker (BatchMaker): What the workers do.
        batch_shape (tuple): Shape of a batch, uint8.
        workers (int): Number of threads.
        batches (int): Most batches in the making at once.
    """

    def __init__(self, maker, batch_shape, workers, batches):
        self._maker = maker
        self._batch_shape = batch_shape
        self._tasks = queue.SimpleQueue()
        # Daemons, unlike concurrent.futures' threads: one that hangs in a read must not keep the program from ending.
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def new_batch(self):
        return np.empty(self._batch_shape, np.uint8)

    def submit(self, batch, first_row, epoch, indices):
        future = concurrent.futures.Future()
        self._tasks.put((future, batch, first_row, epoch, indices))
        return future

    def finish(self, batch):
        """Returns the finished batch as an array that nobody else writes to."""
        return batch

    def close(self):
        try:
            while True:
                self._tasks.get_nowait()
        except queue.Empty:
            pass
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self):
        while (task := self._tasks.get()) is not None:
            future, *arguments = task
            try:
                future.set_result(self._maker.fill(*arguments))
            except BaseException as error:
                future.set_exception(error)
            del task, future, arguments  # Or an idle worker keeps the last batch in memory.


class ProcessWorkers:
    """Processes that write to shared memory, which is copied once, when a batch is handed out.

    The arguments are those of `ThreadWorkers`. The processes are started anew, not forked: a fork would copy
    MindSpore's locked threads.
    """

    def __init__(self, maker, batch_shape, workers, batches):
        context = multiprocessing.get_context("spawn")
        size = int(np.prod(batch_shape))
        blocks = [context.RawArray("B", size) for _ in range(batches)]
        self._batches = [np.frombuffer(block, np.uint8).reshape(batch_shape) for block in blocks]
        self._free = list(range(batches))
        self._executor = concurrent.futures.ProcessPoolExecutor(
            workers, context, _start_process, (maker, batch_shape, blocks)
        )
        before = set(multiprocessing.active_children())
        with _main_module_hidden():
            started = [self._executor.submit(os.getpid) for _ in range(workers)]
            self._processes = [p for p in multiprocessing.active_children() if p not in before]
        del started

    def new_batch(self):
        return self._free.pop()

    def submit(self, batch, first_row, epoch, indices):
        return self._executor.submit(_fill_in_process, batch, first_row, epoch, indices)

    def finish(self, batch):
        """Returns the finished batch as an array that nobody else writes to."""
        array = self._batches[batch].copy()
        self._free.append(batch)
        return array

    def why_broken(self):
        """Says how the workers ended, in words."""
        ends = []
        for process in self._processes:
            process.join(5)
            if process.exitcode is not None and process.exitcode not in (0, -signal.SIGTERM):
                code = process.exitcode
                ends.append(signal.Signals(-code).name if code < 0 else f"exit code {code}")
        return ", ".join(ends) or "unknown"

    def close(self):
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.terminate()


_process_maker = _process_batches = None


def _start_process(maker, batch_shape, blocks):
    global _process_maker, _process_batches
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business.
    _process_maker = maker
    _process_batches = [np.frombuffer(block, np.uint8).reshape(batch_shape) for block in blocks]


def _fill_in_process(batch, *arguments):
    return _process_maker.fill(_process_batches[batch], *arguments)


@contextmanager
def _main_module_hidden():
    """Keeps new processes from importing the program's main module, and with it MindSpore, once more."""
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    try:
        main.__spec__ = None
        if "__file__" in kept:
            del main.__file__
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)
