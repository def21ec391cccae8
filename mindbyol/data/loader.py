"""Order, sharding and batching: which images make up batch b of rank r, and having them ready in time."""

import concurrent.futures
import logging
import time
from collections import deque
from itertools import islice

import numpy as np

from mindbyol.data.augmentation import permutation
from mindbyol.data.bad_images import BadImages
from mindbyol.data.batch import Batch, BatchLayout
from mindbyol.data.decode import DataError
from mindbyol.data.worker_processes import ProcessWorkers
from mindbyol.data.workers import WORKER_TYPES, BatchMaker, ThreadWorkers, default_workers

logger = logging.getLogger(__name__)

PREFETCH = 3  # Batches in the making or waiting.


class _Loader:
    """What both loaders share: workers, prefetching, bad images, and the time the consumer waited.

    Attributes:
        wait_seconds (float): Time that iterating has waited for data so far.
    """

    def __init__(
        self, source, transform, batch_size, seed, num_parallel_workers, worker_type, on_bad_image, output_dir, timeout
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if num_parallel_workers is not None and num_parallel_workers < 1:
            raise ValueError(f"num_parallel_workers is {num_parallel_workers}; it must be at least 1")
        if worker_type not in WORKER_TYPES:
            raise ValueError(f"worker_type is {worker_type!r}; choose one of {', '.join(WORKER_TYPES)}")
        if on_bad_image not in ("skip", "stop", "leave_out"):
            raise ValueError(f"on_bad_image is {on_bad_image!r}; choose one of skip, stop, leave_out")
        self.source = source
        self.transform = transform
        self.batch_size = batch_size
        self.worker_type = worker_type
        self.num_parallel_workers = num_parallel_workers
        self.wait_seconds = 0.0
        self._maker = BatchMaker(source, transform, seed, on_bad_image)
        self._bad_images = BadImages(source, output_dir, left_out=on_bad_image == "leave_out")
        self._timeout = timeout

    def batches(self):
        """Yields the batches (Batch), in order."""
        for arrays, used in self._made(self._plan()):
            indices = np.full(self.batch_size, -1, np.int64)
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
        layout = BatchLayout(self.transform.outputs(), self.batch_size)
        kind = ThreadWorkers if self.worker_type == "thread" else ProcessWorkers
        workers = kind(self._maker, layout, self.num_parallel_workers, PREFETCH)
        # A few chunks a worker and batch: little overhead, and no worker waits long for the last one.
        chunk = max(1, min(16, self.batch_size // (4 * self.num_parallel_workers)))
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
                started = time.monotonic()
                replaced = [item for future in work for item in self._result(future)]
                arrays = workers.finish(batch)
                self.wait_seconds += time.monotonic() - started
                for array in arrays.values():
                    array[len(indices) :] = 0
                yield arrays, self._bad_images.replace(indices, replaced)
                del batch, arrays, array
        finally:
            workers.close()

    def _result(self, future):
        try:
            return future.result(self._timeout)
        except concurrent.futures.TimeoutError as error:
            raise DataError(
                f"no data worker finished an image for {self._timeout:.0f} s: is the storage of "
                f"{self.source.description} reachable?"
            ) from error


class PretrainLoader(_Loader):
    """The views of a whole run, batch after batch.

    The order of epoch e is a permutation of (seed, e), cut into global batches of `batch_size * ranks` images, of which
    each rank takes its contiguous slice. What a batch holds depends on nothing else: not on the workers, nor on where
    the run started. The remainder of an epoch is dropped.

    Args:
        source (Source): Where the images are from.
        transform (TwoViewTransform): What becomes of an image.
        batch_size (int): Images a batch of one rank.
        epochs (int): Epochs of the run.
        seed (int): Seed of the run.
        batches_per_epoch (int): Global batches an epoch; by default all full ones.
        rank (int): Number of this process, 0..ranks - 1.
        ranks (int): Number of processes that train together.
        start_batch (int): First batch to yield, counted from the start of the run; earlier ones are not decoded.
        shuffle (bool): Whether an epoch is permuted; else it is the order of the source.
        num_parallel_workers (int): Threads or processes that decode; by default as many as suit the machine.
        worker_type (str): "thread" or "process".
        on_bad_image (str): "skip" replaces an unreadable image by the next one of the source, "stop" raises.
        output_dir (str): Folder for `bad_images.txt`; None writes none.
        timeout (float): Seconds without any progress after which the workers are taken to hang.

    Attributes:
        batches_per_epoch (int): Global batches an epoch.
        wait_seconds (float): Time that iterating has waited for data so far.

    Raises:
        ValueError: The data set is smaller than a global batch, or an argument is out of range.
    """

    def __init__(
        self,
        source,
        transform,
        batch_size,
        epochs,
        seed=42,
        batches_per_epoch=None,
        rank=0,
        ranks=1,
        start_batch=0,
        shuffle=True,
        num_parallel_workers=None,
        worker_type="thread",
        on_bad_image="skip",
        output_dir=None,
        timeout=300.0,
    ):
        workers = default_workers(ranks) if num_parallel_workers is None else num_parallel_workers
        super().__init__(source, transform, batch_size, seed, workers, worker_type, on_bad_image, output_dir, timeout)
        full = len(source) // (batch_size * ranks)
        if full == 0:
            raise ValueError(
                f"the data set ({source.description}) is smaller than one batch: batch_size {batch_size}"
                f"{f' x {ranks} devices' if ranks > 1 else ''}; lower batch_size"
            )
        if batches_per_epoch is not None and not 0 < batches_per_epoch <= full:
            raise ValueError(f"batches_per_epoch is {batches_per_epoch}; {source.description} give 1..{full}")
        if not 0 <= rank < ranks:
            raise ValueError(f"rank is {rank}; it must lie in 0..{ranks - 1}")
        self.batches_per_epoch = batches_per_epoch or full
        self.epochs = epochs
        self.start_batch = start_batch
        self._seed = seed
        self._rank = rank
        self._ranks = ranks
        self._shuffle = shuffle

    def __len__(self):
        """Batches from `start_batch` to the end of the run."""
        return max(0, self.epochs * self.batches_per_epoch - self.start_batch)

    def __iter__(self):
        """Yields what a training step takes: the arrays of a batch, in order, and its labels if there are any.

        Of a TwoViewTransform: view_1 and view_2, uint8, each (batch, 3, size, size), and int32 labels (batch,).
        """
        for batch in self.batches():
            labels = () if batch.labels is None else (batch.labels,)
            yield (*batch.arrays.values(), *labels)
            del batch, labels

    def _plan(self):
        epoch, order = None, None
        for number in range(self.start_batch, self.epochs * self.batches_per_epoch):
            if number // self.batches_per_epoch != epoch:
                epoch = number // self.batches_per_epoch
                size = len(self.source)
                order = permutation(self._seed, epoch, size) if self._shuffle else np.arange(size)
            first = (number % self.batches_per_epoch * self._ranks + self._rank) * self.batch_size
            yield epoch, order[first : first + self.batch_size]


class EvalLoader(_Loader):
    """Every image once, in the order of the source; rank r has the r-th contiguous share.

    All ranks yield the same number of batches of the same shape, so that one compiled graph serves and ranks can meet
    after each batch; the last ones are filled up with black images.

    The arguments are those of `PretrainLoader`. An unreadable image is replaced as there, with the label of the image
    that stands in for it.
    """

    def __init__(
        self,
        source,
        transform,
        batch_size,
        rank=0,
        ranks=1,
        num_parallel_workers=None,
        worker_type="thread",
        on_bad_image="skip",
        output_dir=None,
        timeout=300.0,
    ):
        workers = default_workers(ranks) if num_parallel_workers is None else num_parallel_workers
        super().__init__(source, transform, batch_size, 0, workers, worker_type, on_bad_image, output_dir, timeout)
        share = -(-len(source) // ranks)
        self._indices = np.arange(len(source))[rank * share : (rank + 1) * share]
        self._count = -(-share // batch_size)

    def __len__(self):
        """Batches, the same number for all ranks."""
        return self._count

    def __iter__(self):
        """Yields the batches (Batch); of an EvalTransform, with "image", uint8, (batch, 3, size, size)."""
        return self.batches()

    def _plan(self):
        for number in range(self._count):
            yield 0, self._indices[number * self.batch_size : (number + 1) * self.batch_size]
