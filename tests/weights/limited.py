"""Reads many files in one process of little memory, and says how each of them ended."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

READ_ALL = """
import json, sys, time
from mindbyol.weights.files import open_weights

for path in sys.argv[1:]:
    start = time.process_time()
    try:
        for tensor in open_weights(path).tensors.values():
            tensor.read()
        kind, message = "none", ""
    except Exception as error:
        kind, message = type(error).__name__, str(error)
    print(json.dumps([path, kind, message, time.process_time() - start]), flush=True)
"""


def read_all(folder, files):
    """Writes files and reads every one of them, in one process that has 2 GB of memory.

    Args:
        folder (Path): Where to write.
        files (dict): Name to a function that writes the file at a path.

    Returns:
        dict: Name to (path, kind of error, message, seconds of CPU time).
    """
    paths = {what: folder / f"{number}.ckpt" for number, what in enumerate(files)}
    for what, write in files.items():
        write(paths[what])
    command = ["bash", "-c", 'ulimit -v 2000000; exec timeout 300 "$@"', "bash", sys.executable, "-c", READ_ALL]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *map(str, paths.values())], capture_output=True, text=True, env=environment)
    for path in paths.values():
        path.unlink()
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    found = {path: rest for path, *rest in lines}
    left = [what for what, path in paths.items() if str(path) not in found]
    assert not left, f"the process ended ({done.returncode}) at {left[0]}"
    return {what: (str(path), *found[str(path)]) for what, path in paths.items()}


def one_line(outcome, reason):
    path, kind, message, seconds = outcome
    assert kind in ("ValueError", "Refused"), (kind, message)
    assert message.startswith(path) and "\n" not in message and message.isprintable() and len(message) < 600, message
    assert re.search(reason, message), message
    assert seconds < 60
