"""Where log lines go: the terminal, above a progress bar if there is one, and a file a rank."""

import contextlib
import logging
import sys
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
