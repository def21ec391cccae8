"""Worker processes: how they start, get their work, and end, whatever happens to them or to their parent.

Each has a connection and a thread of its own in the parent, and shares no lock with anybody: any of them can be killed
at any moment without harm to the others.
"""

import atexit
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker

import numpy as np

from mindbyol.data.decode import DataError
from mindbyol.data.workers import Workers

_GRACE = 5.0  # Seconds that all processes together have to end by themselves; then they are killed.


class ProcessWorkers(Workers):
    """Processes that write to shared memory, which is copied once, when a batch is handed out.

    The arguments are those of `ThreadWorkers`. The processes are started anew, not forked: a fork would copy
    MindSpore's locked threads.
    """

    def __init__(self, maker, layout, workers, batches):
        self._context = multiprocessing.get_context("spawn")
        self._layout = layout
        self._blocks = [self._context.RawArray("B", layout.nbytes) for _ in range(batches)]
        self._free = list(range(batches))
        # In shared memory too: through a pipe, the start of each process would wait until the one before reads it.
        pickled = pickle.dumps(maker)
        self._pickled_maker = self._context.RawArray("B", len(pickled))
        memoryview(self._pickled_maker).cast("B")[:] = pickled
        self._processes = []
        atexit.register(self.close)  # Nobody else closes when an error ends the program. Before multiprocessing's own.
        with _undisturbed_start():
            super().__init__(workers, "processes")

    def new_batch(self):
        return self._free.pop()

    def finish(self, batch):
        """Returns the arrays of the finished batch, to which nobody else writes."""
        arrays = self._layout.arrays(np.frombuffer(self._blocks[batch], np.uint8).copy())
        self._free.append(batch)
        return arrays

    def close(self):
        """Ends all processes: each finishes the task that it has begun, or is killed when that takes long."""
        super().close()
        for process in self._processes[len(self._threads) :]:  # Started, but then no thread for it.
            process.connection.close()
        deadline = time.monotonic() + _GRACE
        for ending in (*self._threads, *self._processes):
            ending.join(max(0, deadline - time.monotonic()))
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join(_GRACE)
        atexit.unregister(self.close)

    def _new_worker(self):
        process = _Process(self._context, (self._pickled_maker, self._blocks, self._layout))
        self._processes.append(process)
        return process

    def _work(self, process):
        futures = deque()  # Of the tasks that the process has: the one it does and the next, so that it never waits.
        with process.connection:  # When it is closed, the process ends.
            while True:
                while len(futures) < 2:
                    try:
                        task = self._tasks.get(block=not futures)
                    except queue.Empty:
                        break
                    if task is None:
                        return
                    future, *arguments = task
                    process.send(arguments)
                    futures.append(future)
                future = futures.popleft()
                try:
                    future.set_result(process.receive())
                except BaseException as error:
                    future.set_exception(error)


class _Process:
    """The parent's side of a worker process."""

    def __init__(self, context, arguments):
        self.connection, theirs = context.Pipe()
        with theirs:
            self._process = context.Process(target=_serve, args=(theirs, *arguments), daemon=True)
            self._process.start()
        self.join, self.kill = self._process.join, self._process.kill

    def send(self, task):
        with suppress(ConnectionError):  # `receive` will say why.
            self.connection.send(task)

    def receive(self):
        """Returns what `BatchMaker.fill` returns, or raises what it raises, in the order of the tasks."""
        try:
            replaced, error, lines = self.connection.recv()
        except (EOFError, ConnectionError) as gone:
            raise DataError(
                f"worker_type: a data worker process died ({self._how()}); SIGKILL is often the kernel's answer to a "
                "lack of memory: lower num_parallel_workers or batch_size, or use worker_type thread"
            ) from gone
        if error is not None:
            raise error from RuntimeError(f"in a data worker process:\n{lines}")
        return replaced

    def _how(self):
        self.join(_GRACE)
        code = self._process.exitcode
        return "unknown" if code is None else signal.Signals(-code).name if code < 0 else f"exit code {code}"


@contextmanager
def _undisturbed_start():
    """Keeps new processes, and threads, from SIGINT and SIGTERM, which may be sent to all and are the parent's business
    alone; and new processes from importing the program's main module, and with it MindSpore, once more.
    """
    resource_tracker.ensure_running()  # Else the first process starts it, which lets the signals through again.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
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
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _serve(connection, pickled_maker, blocks, layout):
    """What a worker process does: tasks, until the parent closes the connection or is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    maker = pickle.loads(pickled_maker)
    batches = [layout.arrays(block) for block in blocks]
    with suppress(EOFError, ConnectionError):
        while True:
            batch, *arguments = connection.recv()
            try:
                answer = maker.fill(batches[batch], *arguments), None, None
            except Exception as error:
                answer = None, error, traceback.format_exc()
            connection.send(answer)
    os._exit(0)  # Nothing is left to tidy up; the interpreter's own end would take ten times as long.


def _end_with_parent():
    """Ends this process, even in the middle of a read that hangs, when the parent is no more."""
    multiprocessing.parent_process().join()
    os._exit(1)
