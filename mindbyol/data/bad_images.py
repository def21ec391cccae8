"""Images that could not be read: named once, listed in a file, and too many of them stop the run."""

import logging
import os

import numpy as np

from mindbyol.data.decode import DataError
from mindbyol.data.names import printable

logger = logging.getLogger(__name__)

LIMIT = 0.01  # Share of the data set.


class BadImages:
    """Keeps count of the unreadable images of a source.

    Args:
        source (Source): Where the images are from.
        output_dir (str): Folder for `bad_images.txt`, one line an image: its name, a tab, and why. None writes none.
        on_bad_image (str): As of `BatchMaker`. With "leave_out" nothing takes the place of an unreadable image; with
            that and "skip_any" any number of them may be unreadable.

    Raises:
        ValueError: `bad_images.txt` is there, and is not a file.
    """

    def __init__(self, source, output_dir, on_bad_image="skip"):
        self._source = source
        self._left_out = on_bad_image == "leave_out"
        self._any_number = self._left_out or on_bad_image == "skip_any"
        self._reasons = {}
        self._file = None if output_dir is None else os.path.join(output_dir, "bad_images.txt")
        self._listed = set()
        if self._file is not None and os.path.exists(self._file):
            if not os.path.isfile(self._file):
                raise ValueError(
                    f"ckpt_save_dir: {self._file} is not a file; remove it, unreadable images are listed there"
                )
            with open(self._file, encoding="utf-8", errors="replace", newline="\n") as file:
                self._listed = {line.split("\t")[0] for line in file}

    def __len__(self):
        """Unreadable images so far."""
        return len(self._reasons)

    def replace(self, indices, replaced):
        """Notes which images of a batch had to be replaced.

        Args:
            indices (numpy.ndarray): Indices of the images that were asked for.
            replaced (list): What `BatchMaker.fill` returned.

        Returns:
            numpy.ndarray: Indices of the images that are in the batch; -1 for one that is left out.

        Raises:
            DataError: More than 1% of the images of the source, and more than one, cannot be read.
        """
        if not replaced:
            return indices
        used = np.array(indices)
        for row, index, reasons in replaced:
            used[row] = index
            for bad, reason in reasons.items():
                self._note(bad, printable(" ".join(reason.split())))
        if not self._any_number and len(self._reasons) > max(1, LIMIT * len(self._source)):
            names = [f"{self._source.name(index)} ({reason})" for index, reason in self._reasons.items()]
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            raise DataError(
                f"dataset: {len(names)} of {self._source.description} cannot be read, more than {LIMIT:.0%}; mend or "
                "remove them, or let others take the place of any number with on_bad_image skip_any: "
                f"{', '.join(names[:10])}{more}{f'; all are in {self._file}' if self._file else ''}"
            )
        return used

    def _note(self, index, reason):
        if index in self._reasons:
            return
        self._reasons[index] = reason
        name = self._source.name(index)
        if name in self._listed:
            return
        self._listed.add(name)
        instead = "it is left out" if self._left_out else "the next image of the data set takes its place"
        logger.warning("%s cannot be read (%s): %s", name, reason, instead)
        if self._file is not None:
            with open(self._file, "a", encoding="utf-8") as file:
                file.write(f"{name}\t{reason}\n")
