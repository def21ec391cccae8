"""Images that lists name, with their labels: are they all there, has every class one, is each label a class?"""

import os

import numpy as np

from mindbyol.data.file_index import FileIndex
from mindbyol.data.names import printable

SHOWN = 10  # names in a message


def index_listed(root, names, labels, class_names, listed_in):
    """Makes an index of images that a list names.

    Args:
        root (Path): Folder that the names are relative to.
        names (list[str]): Paths of the images.
        labels (sequence[int]): One class each, from 0.
        class_names (list[str]): Of all classes.
        listed_in (Path): The list, for messages.

    Returns:
        FileIndex: As the list has it.

    Raises:
        FileNotFoundError: Images are not there; the message has their number and the first ten.
        ValueError: The list is empty, a name leads out of the folder, a label is no class, or a class has no image.
    """
    labels = np.asarray(labels, np.int64)
    outside = [name for name in names if name.startswith("/") or "\0" in name or ".." in name.split("/")]
    if outside:
        raise ValueError(f"data_dir: {listed_in}: {printable(outside[0])} is not below {root}; mend the list")
    if not len(names):
        raise ValueError(f"data_dir: {listed_in} names no image; fetch it again")
    wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if len(wrong):
        raise ValueError(
            f"data_dir: {listed_in}: the label of {printable(names[wrong[0]])}, counted from 0, is "
            f"{labels[wrong[0]]}, and there are {len(class_names)} classes; fetch the list again"
        )
    empty = np.flatnonzero(np.bincount(labels, minlength=len(class_names)) == 0)
    if len(empty):
        raise ValueError(
            f"data_dir: {listed_in} names no image of {len(empty)} of the {len(class_names)} classes: "
            f"{some([class_names[label] for label in empty])}; fetch the list again"
        )
    check_there(root, names, listed_in)
    return FileIndex.from_names(map(os.fsencode, names), labels.astype(np.int32), list(class_names))


def lines_of(path):
    """The lines of a text file, without the space around them, and without empty ones at the end.

    Raises:
        FileNotFoundError: It is not there.
    """
    if not path.is_file():
        raise FileNotFoundError(f"data_dir: the list {path} is not there; fetch it, or set another split")
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    return [line.strip() for line in text.rstrip().split("\n")]


def check_there(root, names, listed_in, what="images"):
    """Are all files that a list names in the folder?

    Args:
        root (Path): Folder that the names are relative to.
        names (sequence[str]): Paths of the files.
        listed_in (Path): The list, for the message.
        what (str): What the files are, for the message.

    Raises:
        FileNotFoundError: Some are not; the message has their number and the first ten.
    """
    gone = missing(root, names)
    if gone:
        raise FileNotFoundError(
            f"data_dir: {len(gone)} of the {what} that {listed_in} names are not in {root}: {some(gone)}; put them "
            "there, or mend the list"
        )


def missing(root, names):
    """The names that a folder does not have; each folder in it is read once, which is faster than to ask for each file.

    Args:
        root (Path): Folder that the names are relative to.
        names (iterable[str]): Paths of files.

    Returns:
        list[str]: In the order of the names.
    """
    folders, gone = {}, []
    for name in names:
        folder, file = os.path.split(name)
        if folder not in folders:
            path = os.path.join(root, folder)
            folders[folder] = frozenset(os.listdir(path)) if os.path.isdir(path) else frozenset()
        if file not in folders[folder]:
            gone.append(name)
    return gone


def some(names):
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(printable, names[:SHOWN])) + more
