"""Class names of a data set that has the layout of a published one, and classes of its own: `classes.txt` beside it."""

from mindbyol.data.listed_images import lines_of

NAME = "classes.txt"


def class_names(root, known):
    """The classes of a data set.

    Args:
        root (Path): Folder of the data set: VOC's `VOC2012`, the one that holds Cityscapes' `leftImg8bit`.
        known (sequence[str]): Those of the published data set.

    Returns:
        list[str]: The lines of `root/classes.txt` if there is one, else `known`.

    Raises:
        ValueError: The file has no line, or a line that is empty or there twice.
    """
    file = root / NAME
    if not file.is_file():
        return list(known)
    names = lines_of(file)
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(f"data_dir: {file} has an empty line, or a class twice; write one class a line")
    return names
