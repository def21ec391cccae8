"""Workers that decode images and write their views straight into a batch: threads, or processes of their own."""

import concurrent.futures
import os
import queue
import threading

import numpy as np

from mindbyol.data.decode import BadImage, DataError, decode

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


class Workers:
    """Threads that take tasks from one queue, in the order in which they came.

    Daemons, unlike concurrent.futures' threads: one that hangs in a read must not keep the program from ending.

    Args:
        workers (int): Number of threads.
        name (str): What a user calls them.

    Raises:
        DataError: So many cannot be started; none is left then.
    """

    def __init__(self, workers, name):
        self._tasks = queue.SimpleQueue()
        self._threads = []
        try:
            for _ in range(workers):
                thread = threading.Thread(target=self._work, args=(self._new_worker(),), daemon=True)
                thread.start()
                self._threads.append(thread)
        except (OSError, RuntimeError) as error:  # What an operating system says that has no more of them.
            self.close()
            for thread in self._threads:
                thread.join()
            raise DataError(
                f"only {len(self._threads)} of {workers} data worker {name} can be started ({error}); lower "
                "num_parallel_workers"
            ) from error

    def submit(self, batch, first_row, epoch, indices):
        """Has a worker do `BatchMaker.fill`, with what `new_batch` gave as the batch.

        Returns:
            concurrent.futures.Future: Of what `BatchMaker.fill` returns or raises. DataError: the worker died.
        """
        future = concurrent.futures.Future()
        self._tasks.put((future, batch, first_row, epoch, indices))
        return future

    def close(self):
        """Drops what no worker has begun, and tells all to end."""
        try:
            while True:
                self._tasks.get_nowait()
        except queue.Empty:
            pass
        for _ in self._threads:
            self._tasks.put(None)


class ThreadWorkers(Workers):
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
        super().__init__(workers, "threads")

    def new_batch(self):
        return np.empty(self._batch_shape, np.uint8)

    def finish(self, batch):
        """Returns the finished batch as an array that nobody else writes to."""
        return batch

    def _new_worker(self):
        return self._maker

    def _work(self, maker):
        while (task := self._tasks.get()) is not None:
            future, *arguments = task
            try:
                future.set_result(maker.fill(*arguments))
            except BaseException as error:
                future.set_exception(error)
            del task, future, arguments  # Or an idle worker keeps the last batch in memory.
