"""Order, sharding and batching: which images make up batch b of rank r, and having them ready in time."""

import concurrent.futures
import math
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Optional

import numpy as np

from mindbyol.data.bad_images import BadImages
from mindbyol.data.batch import Batch, BatchLayout
from mindbyol.data.decode import WHITE, DataError
from mindbyol.data.keyed_random import OF_BATCHES, permutation
from mindbyol.data.worker_processes import ProcessWorkers
from mindbyol.data.workers import WORKER_TYPES, BatchMaker, ThreadWorkers, default_workers

ON_BAD_IMAGE = ("skip", "skip_any", "stop", "leave_out")
PREFETCH = 3  # Batches in the making or waiting.
TIMEOUT = 300.0  # Seconds without any progress after which the workers are taken to hang.


@dataclass(frozen=True)
class LoaderSettings:
    """What both loaders take.

    Attributes:
        batch_size (int): Images a batch of one rank.
        seed (int): Seed of the run.
        rank (int): Number of this process, 0..ranks - 1.
        ranks (int): Number of processes that share the images.
        num_parallel_workers (int): Threads or processes that read images; by default as many as suit the machine.
        worker_type (str): "thread" or "process".
        on_bad_image (str): "skip" replaces an unreadable image by the next one of the source and raises when they are
            more than 1%, "skip_any" replaces any number, "stop" raises at the first, and "leave_out" leaves a row that
            does not count, which only evaluations can do.
        output_dir (str): Folder for `bad_images.txt`; None writes none.
        background (tuple[int, int, int]): What is seen through transparent pixels; see `decode.decode`.

    Raises:
        ValueError: A value is out of range.
    """

    batch_size: int
    seed: int = 42
    rank: int = 0
    ranks: int = 1
    num_parallel_workers: Optional[int] = None
    worker_type: str = "thread"
    on_bad_image: str = "skip"
    output_dir: Optional[str] = None
    background: tuple = WHITE

    def __post_init__(self):
        for key in ("batch_size", "ranks", "num_parallel_workers"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key}: {value} is below 1; it counts from 1")
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"rank: {self.rank} is not one of 0..{self.ranks - 1}; ranks count from 0")
        for key, choices in (("worker_type", WORKER_TYPES), ("on_bad_image", ON_BAD_IMAGE)):
            if getattr(self, key) not in choices:
                raise ValueError(f"{key}: {getattr(self, key)!r} is not known; choose one of {', '.join(choices)}")

    @property
    def workers(self):
        """Number of workers: `num_parallel_workers`, or what suits the machine."""
        return self.num_parallel_workers or default_workers(self.ranks)


class _Loader:
    """What both loaders share: workers, prefetching, bad images."""

    def __init__(self, source, transform, settings):
        self.source = source
        self.transform = transform
        self.settings = settings
        self._maker = BatchMaker(source, transform, settings.seed, settings.on_bad_image, settings.background)
        self._bad_images = BadImages(source, settings.output_dir, settings.on_bad_image)

    def batches(self):
        """Yields the batches (Batch), in order."""
        for arrays, used in self._made(self._plan()):
            indices = np.full(self.settings.batch_size, -1, np.int64)
            indices[: len(used)] = used
            counts = indices >= 0
            yield Batch(arrays, self._labels(indices, counts), indices, counts)
            del arrays

    def _labels(self, indices, counts):
        if self.source.labels is None:
            return None
        of_source = np.asarray(self.source.labels)
        labels = np.zeros((len(indices), *of_source.shape[1:]), of_source.dtype)
        labels[counts] = of_source[indices[counts]]
        return labels

    def _made(self, plan):
        """Makes the arrays of the batches of a plan.

        Args:
            plan (iterator[tuple[int, numpy.ndarray]]): Epoch, and the indices of the images of each batch; when they
                are fewer than the batch size the other rows are zero.

        Yields:
            tuple[dict[str, numpy.ndarray], numpy.ndarray]: The arrays of the batch, and the indices of the images that
            are in it, -1 for one that was left out.
        """
        batch_size, number = self.settings.batch_size, self.settings.workers
        layout = BatchLayout(self.transform.outputs(), batch_size)
        kind = ThreadWorkers if self.settings.worker_type == "thread" else ProcessWorkers
        workers = kind(self._maker, layout, number, PREFETCH)
        # A few chunks a worker and batch: little overhead, and no worker waits long for the last one.
        chunk = max(1, min(16, batch_size // (4 * number)))
        pending = deque()
        try:
            while True:
                for epoch, indices in islice(plan, PREFETCH - len(pending)):
                    batch = workers.new_batch()
                    starts = range(0, len(indices), chunk)
                    work = [workers.submit(batch, s, epoch, indices[s : s + chunk].tolist()) for s in starts]
                    pending.append((batch, indices, work))
                if not pending:
                    return
                batch, indices, work = pending.popleft()
                replaced = [item for future in work for item in self._result(future)]
                arrays = workers.finish(batch)
                for array in arrays.values():
                    array[len(indices) :] = 0
                yield arrays, self._bad_images.replace(indices, replaced)
                del batch, arrays, array
        finally:
            workers.close()

    def _result(self, future):
        try:
            return future.result(TIMEOUT)
        except concurrent.futures.TimeoutError as error:
            raise DataError(
                f"data_dir: no data worker finished an image for {TIMEOUT:.0f} s; is the storage of "
                f"{self.source.description} reachable?"
            ) from error


class PretrainLoader(_Loader):
    """The views of a whole run, batch after batch.

    The order of epoch e is a permutation of (seed, e), cut into global batches of `batch_size * ranks` images, of which
    each rank takes its contiguous slice. What a batch holds depends on nothing else: not on the workers, nor on where
    the run started. The remainder of an epoch is dropped. Where the source has `groups`, each batch is of one of them:
    see `order_of_epoch`.

    Args:
        source (Source): Where the images are from.
        transform (TwoViewTransform): What becomes of an image.
        settings (LoaderSettings): Batch size, seed, ranks and workers.
        epochs (int): Epochs of the run.
        batches_per_epoch (int): Global batches an epoch; by default all full ones.
        start_batch (int): First batch to yield, counted from the start of the run; earlier ones are not decoded.
        end_batch (int): The batch that the run ends before; by default it ends with its last epoch.

    Attributes:
        batches_per_epoch (int): Global batches an epoch.

    Raises:
        ValueError: The data set is smaller than a global batch, or an argument is out of range.
    """

    def __init__(self, source, transform, settings, epochs, batches_per_epoch=None, start_batch=0, end_batch=None):
        if settings.on_bad_image == "leave_out":
            raise ValueError("on_bad_image: leave_out makes batches with gaps, not for training; choose skip or stop")
        super().__init__(source, transform, settings)
        batch_size, ranks = settings.batch_size, settings.ranks
        full = full_batches(len(source), batch_size * ranks, groups_of(source))
        if full == 0:
            raise ValueError(
                f"batch_size: a batch takes {batch_size}{f' x {ranks} devices' if ranks > 1 else ''} images, and there "
                f"are {source.description}; lower it"
            )
        if batches_per_epoch is not None and not 0 < batches_per_epoch <= full:
            raise ValueError(
                f"batches_per_epoch: {batches_per_epoch} is not within 1..{full} ({source.description}); lower it"
            )
        self.batches_per_epoch = batches_per_epoch or full
        self.epochs = epochs
        self.start_batch = start_batch
        self.end_batch = epochs * self.batches_per_epoch if end_batch is None else end_batch

    def __len__(self):
        """Batches from `start_batch` to the end of the run."""
        return max(0, self.end_batch - self.start_batch)

    def __iter__(self):
        """Yields what a training step takes: the arrays of a batch, in order, and its labels if there are any.

        Of a TwoViewTransform: view_1 and view_2, uint8, each (batch, 3, size, size), and int32 labels (batch,).
        """
        for batch in self.batches():
            labels = () if batch.labels is None else (batch.labels,)
            yield (*batch.arrays.values(), *labels)
            del batch, labels

    def _plan(self):
        groups = groups_of(self.source)
        count, length = len(self.source), self.batches_per_epoch
        return training_order(count, self.settings, length, self.start_batch, self.end_batch, groups)


def training_order(count, settings, batches_per_epoch, first, last, groups=None):
    """Which images a rank trains on: see `PretrainLoader`.

    Args:
        count (int): Images that there are.
        settings (LoaderSettings): Batch size, seed and ranks.
        batches_per_epoch (int): Global batches an epoch.
        first, last (int): The batches from `first` on and before `last`, counted from the start of the run.
        groups (numpy.ndarray): See `order_of_epoch`.

    Yields:
        tuple[int, numpy.ndarray]: Epoch, and the indices of the images of a batch.
    """
    batch_size, epoch, order = settings.batch_size, None, None
    for number in range(first, last):
        if number // batches_per_epoch != epoch:
            epoch = number // batches_per_epoch
            order = order_of_epoch(count, settings.seed, epoch, batch_size * settings.ranks, groups)
        of_rank = slice(settings.rank * batch_size, (settings.rank + 1) * batch_size)
        yield epoch, order[number % batches_per_epoch, of_rank]


def order_of_epoch(count, seed, epoch, batch, groups=None):
    """The global batches of an epoch: a permutation of the images, cut; what is left of it belongs to none.

    Where images are in groups, the images of each are cut into batches, in the order of that permutation, and the
    batches are then permuted.

    Args:
        count (int): Images that there are.
        seed (int): Seed of the run.
        epoch (int): Epoch, from 0.
        batch (int): Images of a global batch.
        groups (numpy.ndarray): (count,), the group of each image; None for one group.

    Returns:
        numpy.ndarray: int64 (batches, batch), indices of images.
    """
    order = permutation(seed, epoch, count)
    if groups is None:
        return _cut(order, batch)
    of_groups = groups[order]
    batches = np.concatenate([_cut(order[of_groups == group], batch) for group in np.unique(groups)])
    return batches[permutation(seed, epoch, len(batches), OF_BATCHES)]


def _cut(order, batch):
    return order[: len(order) // batch * batch].reshape(-1, batch)


def full_batches(count, batch, groups=None):
    """How many global batches an epoch has; the arguments are those of `order_of_epoch`."""
    if groups is None:
        return count // batch
    return int((np.unique(groups, return_counts=True)[1] // batch).sum())


def groups_of(source):
    """The group of each image of a source, (N,), or None; see `sources`."""
    return getattr(source, "groups", None)


def share(count, rank, ranks):
    """The slice of `count` rows that is a rank's: contiguous and equal, the last ones shorter or empty."""
    size = math.ceil(count / ranks)
    return slice(rank * size, (rank + 1) * size)


class EvalLoader(_Loader):
    """Every image once, in the order of the source; rank r has the r-th contiguous share.

    All ranks yield the same number of batches of the same shape, so that one compiled graph serves and ranks can meet
    after each batch; the last ones are filled up with rows of zeros that do not count.

    Args:
        source (Source): Where the images are from.
        transform (callable): What becomes of an image, such as an EvalTransform.
        settings (LoaderSettings): Batch size, ranks and workers.
    """

    def __init__(self, source, transform, settings):
        super().__init__(source, transform, settings)
        self._indices = np.arange(len(source))[share(len(source), settings.rank, settings.ranks)]
        self._count = math.ceil(math.ceil(len(source) / settings.ranks) / settings.batch_size)

    def __len__(self):
        """Batches, the same number for all ranks."""
        return self._count

    def __iter__(self):
        """Yields the batches (Batch); of an EvalTransform, with "image", uint8, (batch, 3, size, size)."""
        return self.batches()

    def _plan(self):
        for number in range(self._count):
            first = number * self.settings.batch_size
            yield 0, self._indices[first : first + self.settings.batch_size]
