"""Output files: checked before any work is done, and written whole or not at all."""

import contextlib
import os
import shutil
from pathlib import Path

# What `replacing` may leave beside a file when the process is killed.
UNFINISHED = ".*.partial*"


@contextlib.contextmanager
def replacing(path):
    """Gives a name to write to, alone in a hidden folder beside `path`; the file then takes the place of `path`.

    When the block ends well, the file is on the disk before it gets its name, and anybody may read it. The folder is
    deleted either way, and with it whatever a writer leaves beside its file. One process at a time may write a path:
    what a killed one has left is removed.

    Args:
        path (Path): File to write; of a link, the file that it points to is replaced.

    Yields:
        Path: Absolute, with the name of the file.

    Raises:
        OSError: `path` is a device, a pipe or a folder, or cannot be written; what was there stays as it was.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: {_NO_FILE}")
    folder = _folder_beside(path)
    _remove(folder)
    folder.mkdir()
    try:
        beside = folder / path.name
        yield beside
        os.chmod(beside, 0o644)  # MindSpore makes its files read-only, even for their owner
        _flush(beside)
        os.replace(beside, path)
        _flush(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # or its error would stand in the place of the first one


def check_replaceable(path):
    """Tries whether `replacing` could write a file, before any work is done.

    Args:
        path (Path): File to write.

    Raises:
        OSError: It could not; the message says why.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise OSError(f"'{path}' is {_NO_FILE}")
    folder = _folder_beside(path)
    try:
        folder.mkdir()
    except FileExistsError:  # left by a killed process, which `replacing` removes, or another rank tries it, too
        return
    except OSError as error:
        raise OSError(
            f"cannot write '{path}' ({error.strerror}); name a file in a folder that exists and may be written to"
        ) from error
    folder.rmdir()


def remove_unfinished(folder):
    """Removes what killed processes have left in a folder while they wrote; nobody may be writing there now."""
    for left in Path(folder).glob(UNFINISHED):
        _remove(left)


def check_output(path, suffix=None, source=None):
    """Makes sure that a file can be written, before any work is done.

    Args:
        path (Path): File to write.
        suffix (str): What its name must end in; None for anything.
        source (Path): What it is made from, which must not be lost: a full checkpoint holds more than is converted.

    Returns:
        Path: The same.

    Raises:
        ValueError: It cannot; the message says why.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; name the file to write")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: {_NO_FILE}")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise ValueError(f"{path}: is the file that is read; write to another one")
    if suffix is not None and path.suffix != suffix:
        raise ValueError(f"{path}: the file to write must end in {suffix}")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ValueError(f"{path}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{path}: no permission to write in {folder}; write to another folder")
    return path


_NO_FILE = "no regular file, so nothing is written there; name a new one"  # renamed over, a device would be gone


def _folder_beside(path):
    return path.with_name(f".{path.name}.partial")


def _flush(path):
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
