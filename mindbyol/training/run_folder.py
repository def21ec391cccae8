"""The output folder of a run: made, proven to be writable, locked, and kept from mixing with another run's."""

import fcntl
import os
import re
import tempfile
from pathlib import Path

from mindbyol.files import remove_unfinished

BEST = "_best.ckpt"  # ends the name of the weights with the best score, as in MindCV

# Locked output folders of this process: file descriptors, kept open until it ends.
_locks = {}


def make_output_folder(folder, resume):
    """Makes the folder of a run, proves that it can be written to, and locks it for as long as the process lives.

    Args:
        folder (Path): The folder.
        resume (str): `newest` or the checkpoint with which an earlier run goes on; None for a new one, which must not
            mix its checkpoints with another's.

    Raises:
        OSError: It cannot be written to.
        ValueError: It holds checkpoints, and the run is a new one; it holds a run, and the checkpoint to go on from
            lies elsewhere; what the run writes there is a folder or a pipe; or another process trains into it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"ckpt_save_dir: cannot write to '{folder}' ({error.strerror})") from error
    if resume not in (None, False, True, "newest") and Path(resume).resolve().parent != folder.resolve():
        found = [name for name in ("config.yaml", "metrics.jsonl") if (folder / name).exists()]
        found += [file.name for file in folder.glob("*.ckpt") if not file.name.startswith(".")]
        if found:
            raise ValueError(
                f"resume: '{resume}' is not in ckpt_save_dir, and '{folder}' holds {found[0]} of another run: "
                "choose another folder to go on in"
            )
    for name in ("rank0.log", "config.yaml", "metrics.jsonl", "metrics.jsonl.old"):
        file = folder / name
        if file.exists() and not file.is_file():  # a pipe would be waited for, forever
            raise ValueError(
                f"ckpt_save_dir: '{file}' is no regular file, and the run writes one of that name; remove it"
            )
    _lock(folder)
    remove_unfinished(folder)  # of a run that was killed while it wrote
    if not resume and any(not file.name.endswith(BEST) for file in folder.glob("*.ckpt")):
        go_on = "--resume goes on with it; for a new run " if holds_run(folder) else ""
        raise ValueError(
            f"ckpt_save_dir: '{folder}' holds the checkpoints of an earlier run: {go_on}"
            "choose another folder, or empty this one"
        )
    if not resume:  # of a run that ended before its first checkpoint
        for left in (folder / "metrics.jsonl", *folder.glob(f"*{BEST}")):
            if left.exists():
                left.replace(f"{left}.old")


def holds_run(folder):
    """Whether a folder has a full checkpoint, with which `--resume` can go on.

    Args:
        folder (Path): It need not exist.
    """
    names = [file.name for file in Path(folder).glob("*.ckpt")]
    return any(not name.startswith(".") and not name.endswith(("_backbone.ckpt", BEST)) for name in names)


def newest_weights(folder):
    """The file of a run's folder to take a backbone from: of the most steps, if there is one the backbone alone.

    Args:
        folder (Path): The folder.

    Returns:
        Path: The file.

    Raises:
        FileNotFoundError: There is no checkpoint in it.
    """
    found = []
    for file in Path(folder).glob("*.ckpt"):
        match = re.search(r"-\d+_(\d+)(_backbone)?\.ckpt$", file.name)
        if match and not file.name.startswith("."):
            found.append((int(match[1]), bool(match[2]), file))
    if not found:
        raise FileNotFoundError(f"{folder}: no checkpoint of a run in this folder; name the file")
    return max(found)[2]


def release(folder):
    """Unlocks a folder of `make_output_folder`, if it is locked, before the process ends."""
    if Path(folder) in _locks:
        os.close(_locks.pop(Path(folder)))


def _lock(folder):
    release(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(f"ckpt_save_dir: another process trains into '{folder}' now; choose another folder") from None
    except OSError:  # a file system without locks
        pass
    _locks[folder] = descriptor
