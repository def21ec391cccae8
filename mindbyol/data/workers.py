"""Workers that read images and write what a transform makes of them into a batch; as threads."""

import concurrent.futures
import os
import queue
import threading
from itertools import islice

import numpy as np

from mindbyol.data.decode import WHITE, BadImage, DataError, decode

WORKER_TYPES = ("thread", "process")
_MOST_REPLACEMENTS = 100


class BatchMaker:
    """Fills the rows of a batch with what a transform makes of images.

    Args:
        source (Source): Where the images are from; see `sources`.
        transform (callable): What becomes of an image; see `views`.
        seed (int): Seed of the run.
        on_bad_image (str): At an unreadable image, "skip" and "skip_any" take the next readable one of the source,
            with its target, "leave_out" leaves a row of zeros, and "stop" raises.
        background (tuple[int, int, int]): Of transparent images; see `decode.decode`.

    Raises:
        ValueError: The transform needs targets, and the source has none.
    """

    def __init__(self, source, transform, seed, on_bad_image, background=WHITE):
        if transform.takes_target and not hasattr(source, "target"):
            raise ValueError(
                f"dataset: {source.description} have no targets, such as masks or boxes, which "
                f"{type(transform).__name__} needs; choose a data set that has them"
            )
        self._source = source
        self._sizes = getattr(source, "sizes", None)  # of a subset, they are put together at each call
        self._groups = getattr(source, "groups", None)
        self._transform = transform
        self._seed = seed
        self._on_bad_image = on_bad_image
        self._background = background

    def fill(self, arrays, first_row, epoch, indices):
        """Writes what becomes of the images `indices` to the rows from `first_row` on.

        A replaced image keeps the random numbers of the one in whose place it stands, so that the rule does not depend
        on who does the work.

        Args:
            arrays (dict[str, numpy.ndarray]): The arrays of the batch, by name.
            first_row (int): Row of the first image.
            epoch (int): Epoch, from 0.
            indices (list[int]): Indices of the images in the source.

        Returns:
            list[tuple[int, int, dict[int, str]]]: For each image that could not be read its row, the index of the
            image that was used, or -1 if none was, and why those before it were not.

        Raises:
            BadImage: An image cannot be read, and the run is to stop; or too many in a row cannot.
        """
        replaced = []
        for row, index in enumerate(indices, first_row):
            out = {name: array[row, ...] for name, array in arrays.items()}
            used, given, reasons = self.read(index)
            if given is None:
                for sample in out.values():
                    sample[...] = 0
            else:
                self._transform(*given, seed=self._seed, epoch=epoch, index=index, out=out)
            if reasons:
                replaced.append((row, used, reasons))
        return replaced

    def read(self, index):
        """Reads an image, or what takes its place.

        Args:
            index (int): Index of the image in the source.

        Returns:
            tuple[int, tuple or None, dict[int, str]]: Index of the first image from `index` on that can be read, what
            the transform gets of it, and why those before it cannot; -1 and None for one that is left out.

        Raises:
            BadImage: As of `fill`.
        """
        reasons = {}
        for candidate in islice(self._candidates(index), _MOST_REPLACEMENTS):
            try:
                return candidate, self._given(candidate), reasons
            except (OSError, BadImage) as error:
                reason = str(error) or type(error).__name__
                if self._on_bad_image == "stop":
                    raise BadImage(f"{self._source.name(candidate)}: {reason}") from error
                reasons[candidate] = reason
                if self._on_bad_image == "leave_out":
                    return -1, None, reasons
        first, last = self._source.name(index), self._source.name(candidate)
        raise BadImage(
            f"dataset: {len(reasons)} images in a row, from {first} to {last}, cannot be read ({reason}); mend "
            "or remove them"
        )

    def _candidates(self, index):
        """The images from `index` on, once around, of its group if there are any."""
        groups = self._groups
        for step in range(len(self._source)):
            candidate = (index + step) % len(self._source)
            if groups is None or groups[candidate] == groups[index]:
                yield candidate

    def _given(self, index):
        """The pixels of an image, and its target where the transform takes one."""
        image = decode(self._source[index], self._background)
        if not self._transform.takes_target:
            return (image,)
        if self._sizes is not None and image.shape[:2] != tuple(self._sizes[index]):
            height, width = self._sizes[index]
            raise BadImage(f"{image.shape[1]} x {image.shape[0]} pixels, and its annotation says {width} x {height}")
        return image, self._source.target(index)


def default_workers(ranks=1):
    """Number of workers that suits the machine: the cores of this rank, at most 16.

    Where the launcher has bound each rank to cores of its own (`msrun --bind_core=True`), those are the rank's; else it
    shares the cores that it may use with the other ranks of the machine, of which 8 at most are assumed.
    """
    cores = _cores_of(0)
    bound = cores < _cores_of(os.getppid())  # who starts the ranks is not bound itself
    return max(1, min(16, cores if bound else cores // min(ranks, 8)))


def _cores_of(process):
    """How many cores a process may use; 0 is this one."""
    try:
        return len(os.sched_getaffinity(process))
    except (AttributeError, OSError):  # not on Linux, or the process is gone
        return os.cpu_count()


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
                f"num_parallel_workers: only {len(self._threads)} of {workers} data worker {name} can be started "
                f"({error}); lower it"
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
    """Threads of this process. Each batch is a new block of memory.

    Args:
        maker (BatchMaker): What the workers do.
        layout (BatchLayout): The arrays of a batch.
        workers (int): Number of threads.
        batches (int): Most batches in the making at once.
    """

    def __init__(self, maker, layout, workers, batches):
        self._maker = maker
        self._layout = layout
        super().__init__(workers, "threads")

    def new_batch(self):
        return self._layout.arrays(np.empty(self._layout.nbytes, np.uint8))

    def finish(self, batch):
        """Returns the arrays of the finished batch, to which nobody else writes."""
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
