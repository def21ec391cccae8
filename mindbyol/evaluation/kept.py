"""Numbers that took long, kept on disk one file a piece, so that a command that was stopped goes on where it was."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np

from mindbyol.files import replacing

logger = logging.getLogger(__name__)


class Kept:
    """Lists of numbers by name, all made of the same facts.

    Args:
        folder (str): `features_dir`: they lie in a folder of their own in it. None keeps nothing.
        name (str): Beginning of that folder's name, for people.
        facts (dict): All that the numbers depend on but for their names, JSON-serialisable.
    """

    def __init__(self, folder, name, facts):
        self._facts = json.loads(json.dumps(facts))
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self.folder = Path(folder) / f"{name}-{digest[:16]}" if folder else None

    def read(self, name, count):
        """Returns so many numbers (ndarray), or None if they are not there; the log says what is wrong with a file."""
        if self.folder is None:
            return None
        path = self.folder / f"{name}.json"
        try:
            found = json.loads(path.read_text())
            if found["made_of"] != self._facts:
                raise ValueError("it is of something else")
            return np.array(found["numbers"], np.float64).reshape(count)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning(f"{path} is no good ({error}): its numbers are computed anew")
            return None

    def write(self, name, numbers):
        """Keeps the numbers (ndarray, float64), to the last bit."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f"{name}.json") as beside:
            beside.write_text(json.dumps({"made_of": self._facts, "numbers": np.asarray(numbers).tolist()}))
