"""Some of the labelled images of a source: drawn by class and seed, or named in a list file.

A list file has a name a line: that of the source (`source.name(i)`), or the last part of it, as SimCLR's lists of 1%
and 10% of ImageNet have it (`n01440764_10026.JPEG`).
"""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from mindbyol.data.image_files import Subset
from mindbyol.data.keyed_random import permutation
from mindbyol.data.names import printable
from mindbyol.files import replacing

_DRAW = 2**32  # In the place of an epoch's number: no run has that many epochs, so it shares no random number.
_WORDNET = re.compile(r"(n\d{8})_")  # What the names of ImageNet's training images begin with.


def stratified(labels, seed, per_class=None, fraction=None):
    """Draws images of each class, with the same share or the same number for all.

    A function of labels, seed and counts alone, on any machine. The images of a smaller subset are among those of a
    larger one of the same seed.

    Args:
        labels (ndarray): (N,), whole numbers from 0.
        seed (int): Of the draw.
        per_class (int): Images of each class; or
        fraction (float): their share, rounded to the nearest number of images, half up, and at least one.

    Returns:
        ndarray: int64 indices, in ascending order. Of a class with fewer than `per_class` images, all.
    """
    order = permutation(seed, _DRAW, len(labels))
    chosen = []
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        count = per_class if fraction is None else max(1, int(fraction * len(of_class) + 0.5))
        chosen.append(of_class[:count])
    return np.sort(np.concatenate(chosen))


def read_list(source, path):
    """Finds the images that a list file names.

    Args:
        source (Source): Where they are from.
        path (str): The list: a name a line; empty lines do not count.

    Returns:
        ndarray: int64 indices, in ascending order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It names nothing, something twice, images or classes that the source has not, or a last part that
            several images have.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"train_list: no file '{path}'")
    lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    wanted = dict.fromkeys(names)
    if not names:
        raise ValueError(f"train_list: {path} names no image; write a file name a line")
    if len(wanted) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise ValueError(f"train_list: {path} names {printable(twice)} more than once; drop the others")
    for index in range(len(source)):
        name = source.name(index)
        name = name if name in wanted else name.rpartition("/")[2]
        if name in wanted:
            if wanted[name] is not None:
                raise ValueError(
                    f"train_list: {path} names {printable(name)}, and both {source.name(wanted[name])} and "
                    f"{source.name(index)} are called so; write their whole names"
                )
            wanted[name] = index
    missing = [printable(name) for name, index in wanted.items() if index is None]
    if missing:
        raise ValueError(f"train_list: {path} {_what_is_missing(missing, source)}")
    return np.sort(np.fromiter(wanted.values(), np.int64))


def write_list(source, path):
    """Writes the list file of all images of a source, which `read_list` finds again."""
    with replacing(Path(path)) as beside:
        beside.write_text("".join(f"{source.name(index)}\n" for index in range(len(source))), encoding="utf-8")


def subset_from_args(args, source):
    """The images of a source that a recipe trains on; all of them where it does not choose.

    Args:
        args (Recipe): One of `labels_per_class`, `labels_fraction` and `train_list` at most is given.
        source (Source): With one label an image.

    Returns:
        Source: `source` itself, or a part of it.

    Raises:
        FileNotFoundError, ValueError: As of `read_list`; or a class has fewer images than are asked for.
    """
    if args.train_list:
        return Subset(source, read_list(source, args.train_list))
    if not args.labels_per_class and not args.labels_fraction:
        return source
    counts = np.bincount(source.labels, minlength=len(source.class_names))
    if args.labels_per_class and counts.min() < args.labels_per_class:
        fewest = int(counts.argmin())
        raise ValueError(
            f"labels_per_class: {args.labels_per_class} asked for, and class '{printable(source.class_names[fewest])}' "
            f"of {source.description} has {counts[fewest]}; ask for fewer"
        )
    return Subset(source, stratified(source.labels, args.seed, args.labels_per_class, args.labels_fraction))


def _what_is_missing(missing, source):
    """The end of a message about names of a list that the source has not."""
    shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
    classes = {found[1] for found in map(_WORDNET.match, (name.rpartition("/")[2] for name in missing)) if found}
    unknown = sorted(classes - set(source.class_names or classes))
    if unknown:
        return (
            f"names images of {len(unknown)} classes that {source.description} has not, the first is {unknown[0]}; "
            "is it the list of another data set?"
        )
    return f"names {len(missing)} images that {source.description} has not: {shown}"
