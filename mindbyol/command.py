"""How a command ends when it cannot go on: with one line and an exit code, not with a traceback.

Needs none of the packages, so that a command can say that they are missing.
"""

import argparse
import contextlib
import os
import select
import signal
import sys

_OURS = ("mindbyol", "config", "train", "validate")

# As shells report a process that SIGINT or SIGPIPE has ended.
INTERRUPTED, READER_GONE = 130, 141


class Parser(argparse.ArgumentParser):
    """Errors in one line that stands alone, instead of after two pages of usage; no abbreviated flags.

    Arguments that are empty or hold control characters are slips of a shell script, whatever the flag.
    """

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, **kwargs)

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else list(args)
        for before, argument in zip(["an argument", *args], args):
            if not argument:
                self.error(f"{before}: is empty; was a variable not set?")
            if has_control_characters(argument):
                self.error(f"{quoted(argument)}: holds a control character")
        return super().parse_known_args(args, namespace)

    def error(self, message):
        raise ValueError(message)


@contextlib.contextmanager
def packages(prefix="error"):
    """Around the imports of a command: ends the process in words when a package, or the current folder, is missing, and
    quietly at Ctrl-C.

    No KeyboardInterrupt here: raised in the middle of MindSpore's import it becomes an abort of the interpreter.

    Args:
        prefix (str): What the line starts with.
    """
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so under nohup
    if interruptible:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    with one_line_errors(prefix, errors=()):
        if not _has_working_folder():
            sys.exit(f"{prefix}: the working folder has been deleted: change to another one")
        yield
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def one_line_errors(prefix="error", errors=(ValueError, OSError, RuntimeError)):
    """A decorator of a command's `main`, or around a part of it: ends the process in words.

    Packages that are missing are named, with what installs them. Ctrl-C, and a reader of the output that has gone
    (`| head -1`), end without a word. A stream that is closed from the start (`>&-`) counts as /dev/null.

    Args:
        prefix (str): What the line starts with.
        errors (tuple[type]): What else ends in a line, with the exit code 1; anything but these keeps its traceback.
    """
    _open_closed_streams()
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError as error:
        sys.exit(READER_GONE if _reader_gone() else f"{prefix}: {error}")
    except ImportError as error:
        if (error.name or "").partition(".")[0] in _OURS:
            raise
        sys.exit(f"{prefix}: {escaped(str(error))} in {sys.executable}: pip install -r requirements.txt")
    except errors as error:
        sys.exit(f"{prefix}: {escaped(str(error)) or type(error).__name__}")
    finally:
        _flush_stdout(prefix)


def has_control_characters(text):
    """Whether a new line, an escape or the like is in a text, which no name or number needs."""
    return any(c < " " or c == "\x7f" for c in text)


def escaped(text):
    """The text with control characters, but for new lines, and what is no Unicode written as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def cut(text):
    """What a message shows of a text: its first 60 characters, none of them a control character."""
    text = escaped(text[:61]).replace("\n", "\\n")
    return text if len(text) <= 60 else f"{text[:60]}..."


def quoted(text):
    """`cut` in quotes."""
    return f"'{cut(text)}'"


def _has_working_folder():
    """Without one, the import of MindSpore aborts the interpreter."""
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _open_closed_streams():
    """Or the next file that is opened takes the number of the stream, and gets what MindSpore prints."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def _reader_gone():
    """Whether stdout is the pipe that broke, and not one between processes."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _flush_stdout(prefix):
    """Writes what is left; at the end of the interpreter that would fail with a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        gone = isinstance(error, BrokenPipeError)
        sys.exit(READER_GONE if gone else f"{prefix}: what is printed cannot be written ({error.strerror})")
