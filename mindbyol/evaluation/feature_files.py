"""Features on disk: one .npy file for each combination of weights, images, transform and read-out.

`numpy.load` maps the features, so that the ranks of a machine share one copy of them, which need not fit into memory.
Behind them stand two more arrays: the index of the image that each row is of, and, as JSON, what the file was made of
and a digest of the rows.
"""

import hashlib
import json
import logging
import shutil
from pathlib import Path

import numpy as np

from mindbyol.files import check_replaceable, replacing

logger = logging.getLogger(__name__)

_FORMAT = 1
_BLOCK = 2**24  # bytes that are read at a time


def check_folder(folder):
    """Makes the folder for features, before any work is done.

    Raises:
        OSError: It cannot be made or written to.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        check_replaceable(Path(folder) / "features.npy")
    except OSError as error:
        why = error if error.strerror is None else f"'{folder}' cannot be made ({error.strerror})"
        raise OSError(f"features_dir: {why}; name a folder that can be written to") from error


def path_of(folder, name, facts):
    """The file for features that were made of `facts`.

    Args:
        folder (str): `features_dir`.
        name (str): Its beginning, for people.
        facts (dict): All that the features depend on, JSON-serialisable.

    Returns:
        Path: The file; it need not exist.
    """
    digest = hashlib.sha256(_text(facts).encode()).hexdigest()
    return Path(folder) / f"{name}-{digest[:16]}.npy"


def write(path, facts, count, parts):
    """Writes a file part by part; no more than one part is in memory.

    Args:
        path (Path): The file.
        facts (dict): See `path_of`.
        count (int): Rows in all.
        parts (iterable): As `features.extract` yields them.

    Raises:
        OSError: The file cannot be written, or there is no room for it, which is known after the first part.
    """
    images = np.empty(count, np.int64)
    with replacing(path) as beside, open(beside, "w+b") as file:
        start = None
        for first, rows, of in parts:
            if start is None:
                width = rows.shape[1]
                _check_room(path, 4 * count * width)
                header = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
                np.lib.format.write_array_header_1_0(file, header)
                start = file.tell()
            file.seek(start + first * 4 * width)
            file.write(np.ascontiguousarray(rows, "<f4"))
            images[first : first + len(rows)] = of
        end = start + 4 * count * width
        made_of = _text({"format": _FORMAT, "digest": _digest(file, start, end), "facts": facts})
        file.seek(end)
        np.save(file, images)
        np.save(file, np.frombuffer(made_of.encode(), np.uint8))


def is_whole(path, facts):
    """Whether a file is there, holds what was written and was made of `facts`; the log says what is wrong with one."""
    try:
        with open(path, "rb") as file:
            start, end, _ = _layout(file)
            file.seek(end)
            np.load(file)
            found = json.loads(np.load(file).tobytes())
            made_of_it = found["format"] == _FORMAT and found["facts"] == json.loads(_text(facts))
            good = found["digest"] == _digest(file, start, end)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        logger.warning(f"{path} is damaged ({error}): the features are computed anew")
        return False
    if not made_of_it or not good:
        logger.warning(f"{path} {'is damaged' if made_of_it else 'is of something else'}: features are computed anew")
    return made_of_it and good


def read(path):
    """Maps a file that is whole.

    Returns:
        tuple[ndarray, ndarray]: The features (N, F) float32, read from disk where they are used, and the indices (N,)
        of the images that they are of.
    """
    try:
        with open(path, "rb") as file:
            start, end, shape = _layout(file)
            file.seek(end)
            images = np.load(file)
    except FileNotFoundError:
        raise OSError(
            f"features_dir: {path}, which rank 0 has, is not there on another machine; name a folder that all share"
        ) from None
    return np.memmap(path, "<f4", "r", start, shape), images


def _layout(file):
    """Where the rows start and end, and how many there are of which width."""
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 2 or fortran_order or dtype != np.dtype("<f4"):
        raise ValueError("no rows of float32")
    return file.tell(), file.tell() + 4 * shape[0] * shape[1], shape


def _digest(file, start, end):
    sha = hashlib.sha256()
    file.seek(start)
    for at in range(start, end, _BLOCK):
        sha.update(file.read(min(_BLOCK, end - at)))
    return sha.hexdigest()


def _check_room(path, needed):
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(
            f"features_dir: the features take {needed / 1e9:.1f} GB, and {path.parent} has {free / 1e9:.1f} GB left; "
            "name another folder, or leave the key out"
        )


def _text(facts):
    return json.dumps(facts, sort_keys=True)
