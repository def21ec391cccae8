"""Batches as tensors, made one ahead of the step that takes them."""

import contextlib
import queue
import threading
import time

import mindspore as ms

_GRACE = 5.0  # Seconds that the thread has to end; one that hangs in a read does not keep the program from ending.


class Feed:
    """Iterates once over a loader, in a thread of its own, and makes tensors of what a step takes of its batches.

    A tensor is the memory of its array (`ms.from_numpy`), not a copy. So that nobody writes to what the device has yet
    to read, a loader gives each batch memory of its own, which is freed with the tensors. What a loader does itself to
    hand a batch out, such as a copy from shared memory, is done in the thread, too.

    Args:
        loader (Iterable): Yields batches of NumPy arrays, each in memory that is not written to again.
        inputs (Callable[[tuple], tuple[ndarray]]): What a step takes of a batch.

    Attributes:
        wait_seconds (float): How long iterating has waited for data so far.
    """

    def __init__(self, loader, inputs):
        self.wait_seconds = 0.0
        self._ready = queue.Queue(1)  # one batch waits here, a second one in the hand of the thread
        self._first = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, args=(loader, inputs), name="feed", daemon=True)
        self._thread.start()

    def check_first(self):
        """Waits until the first batch is there, which iterating then begins with.

        Returns:
            tuple[Tensor]: What the first step takes; empty where nothing is left to do.

        Raises:
            BaseException: What the loader raised.
        """
        self._first = self._ready.get()
        if isinstance(self._first, BaseException):
            raise self._first
        return self._first

    def __iter__(self):
        """Yields tuples of tensors, in the order of the loader, and raises what it raises."""
        while True:
            started = time.monotonic()
            batch = self._ready.get() if self._first is None else self._first
            self._first = None
            self.wait_seconds += time.monotonic() - started
            if isinstance(batch, BaseException):
                raise batch
            if not batch:
                return
            yield batch
            del batch

    def close(self):
        """Ends the thread, and with it the workers of the loader; what they have made is dropped."""
        self._closed = True
        with contextlib.suppress(queue.Empty):
            self._ready.get_nowait()
        self._thread.join(_GRACE)

    def _work(self, loader, inputs):
        batches = iter(loader)
        try:
            for batch in batches:
                self._ready.put(tuple(ms.from_numpy(array) for array in inputs(batch)))
                del batch
                if self._closed:
                    return
            self._ready.put(())
        except BaseException as error:
            self._ready.put(error)
        finally:
            if hasattr(batches, "close"):
                batches.close()
