"""Where log lines go: the terminal, above a progress bar if there is one, and a file a rank."""

import contextlib
import fcntl
import logging
import os
import re
import sys
import tempfile
import threading
from pathlib import Path

from tqdm import tqdm

# Lines of the terminal begin with the time alone and are at most 120 columns wide; this much is left for the message.
COLUMNS = 120 - len("[23:59:59] ")


def setup_logging(folder=None, rank=0):
    """Log lines on the terminal, of rank 0 alone, and in the folder's rank{r}.log, one a rank.

    The file has MindCV's form, with date, name and level; the terminal has the time, and the level of warnings.

    Args:
        folder (Path): Where to append rank{r}.log; None while it is not known.
        rank (int): Number of this process.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        if isinstance(handler, _LogFile):
            handler.close()
    if rank == 0:
        root.addHandler(_TerminalHandler())
    if folder is not None:
        file = _LogFile(Path(folder) / f"rank{rank}.log")
        file.setFormatter(logging.Formatter("[%(asctime)s] %(name)s %(levelname)s - %(message)s", "%Y-%m-%d %H:%M:%S"))
        root.addHandler(file)
    root.setLevel(logging.INFO)


@contextlib.contextmanager
def someone_elses_logging():
    """Around `setup_logging` in a program that is not ours: gives the handlers and the level back that were there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for handler in root.handlers[:]:
            root.removeHandler(handler)
            if handler not in handlers:
                handler.close()
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)


class _TerminalFormatter(logging.Formatter):
    def format(self, record):
        level = f"{record.levelname} - " if record.levelno >= logging.WARNING else ""
        return f"[{self.formatTime(record, '%H:%M:%S')}] {level}{super().format(record)}"


@contextlib.contextmanager
def native_lines_above_bar():
    """Shows what libraries write to stderr past Python above a progress bar, instead of through it, each kind once.

    libpng, libjpeg and MindSpore's compiler, for some, write to file descriptor 2. While the block runs this is a file
    that is read twice a second; a pipe that is full could keep them waiting for Python, and Python for them. Lines are
    of one kind when they differ in numbers only: libpng warns of the same image in every epoch. A bar must be made
    within the block. Nothing is done where stderr is no terminal: then there is no bar.
    """
    if not sys.stderr.isatty():
        yield
        return
    sys.stderr.flush()
    before, over = sys.stderr, threading.Event()
    with tempfile.TemporaryFile() as file, open(os.dup(2), "w", errors="backslashreplace") as terminal:
        lines = _NewLines(file.fileno())

        def show():
            for line in lines.read():
                tqdm.write(line, file=terminal)
            terminal.flush()

        def show_now_and_then():
            while not over.wait(0.5):
                show()

        thread = threading.Thread(target=show_now_and_then, daemon=True)
        os.dup2(file.fileno(), 2)
        sys.stderr = terminal
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            os.dup2(terminal.fileno(), 2)
            sys.stderr = before
            show()


class _NewLines:
    """The lines that others write to a file, of each kind the first.

    Args:
        file (int): File descriptor; of writers, too, in this process and those that it starts.
    """

    _LARGE = 2**20  # bytes that may lie there read

    def __init__(self, file):
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
        self._file, self._read, self._rest, self._kinds = file, 0, b"", set()

    def read(self):
        """Yields those that are new."""
        new = os.pread(self._file, os.fstat(self._file).st_size - self._read, self._read)
        self._read += len(new)
        if self._read > self._LARGE:
            os.ftruncate(self._file, 0)
            self._read = 0
        *whole, self._rest = (self._rest + new).split(b"\n")
        for line in whole:
            kind = re.sub(rb"[0-9]+", b"0", line)
            if kind not in self._kinds:
                self._kinds.add(kind)
                yield line.decode(errors="replace")


class _TerminalHandler(logging.Handler):
    """Writes above a progress bar, when there is one, instead of through it."""

    def __init__(self):
        super().__init__()
        self.setFormatter(_TerminalFormatter())

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
