"""Which processes are still there, from Linux's /proc."""

import os
import time
from contextlib import suppress
from pathlib import Path

from mindbyol.data.views import TwoViewTransform


def _running():
    """Yields id, parent and session of every process that has not ended."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):  # It has just ended.
                state, parent, _, session = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:4]
                if state not in "ZX":
                    yield int(entry), int(parent), int(session)


def in_session(session):
    """Ids of the processes of a session: of who was started with `start_new_session`, and of all that it started."""
    return [process for process, _, its_session in _running() if its_session == session]


def workers_of(parent):
    """Ids of the worker processes that `parent` has started, oldest first."""
    children = sorted(process for process, its_parent, _ in _running() if its_parent == parent)
    return [child for child in children if b"spawn_main" in Path("/proc", str(child), "cmdline").read_bytes()]


def wait_until_gone(session, seconds=60):
    """Waits until a session has no process left; returns those that are there in spite of that."""
    deadline = time.monotonic() + seconds
    while (left := in_session(session)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


class Hangs(TwoViewTransform):
    """A transform that waits, at image 5, for a writer to a pipe who never comes: as long as a storage that is gone."""

    def __init__(self, pipe):
        super().__init__(size=32)
        self._pipe = str(pipe)

    def __call__(self, image, seed, epoch, index, out):
        if index == 5:
            open(self._pipe, "rb").close()
