"""Places205 and iNaturalist 2018 in their published layouts: what a backbone is scored on beside ImageNet.

Of Places205 the lists `train_places205.csv` and `val_places205.csv` are read, lines of a path and a label, and of
iNaturalist the competition's `train2018.json` and `val2018.json`. The lists of labelled images that OpenSelfSup made of
both, `meta/train_labeled.txt` and `meta/val_labeled.txt`, are read where those are not there.
"""

import json
import os
from pathlib import Path

import numpy as np

from mindbyol.data.listed_images import index_listed, lines_of
from mindbyol.data.names import printable

LINEAR_SETS = ("places205", "inaturalist2018")
_CLASSES = {"places205": 205, "inaturalist2018": 8142}
_PLACES_IMAGES = "data/vision/torralba/deeplearning/images256"  # as the published archive has them


def index_linear_set(dataset, data_dir, split):
    """Finds the images of a split.

    Args:
        dataset (str): One of `LINEAR_SETS`.
        data_dir (Path): Folder of the data set.
        split (str): `train` or `val`.

    Returns:
        tuple[Path, FileIndex]: The folder that the names are relative to, and what is in it.

    Raises:
        FileNotFoundError: There is no list, or it names images that are not there: their number and the first ten.
        ValueError: The list is damaged, has a label that is no class, or no image of a class.
    """
    if split not in ("train", "val"):
        raise ValueError(f"split '{split}' is none of {dataset}; it has train and val")
    if dataset == "places205":
        lists = [data_dir / folder / f"{split}_places205.csv" for folder in ("trainvalsplit_places205", ".")]
    else:
        lists = [data_dir / f"{split}2018.json", data_dir / "annotations" / f"{split}2018.json"]
    lists.append(data_dir / "meta" / f"{split}_labeled.txt")
    listed_in = next((path for path in lists if path.is_file()), None)
    if listed_in is None:
        names = ", ".join(str(path.relative_to(data_dir)) for path in lists)
        raise FileNotFoundError(f"data_dir: {data_dir} has none of the lists {names} of {dataset}; fetch one")
    if listed_in.suffix == ".json":
        names, labels, classes = _read_json(listed_in)
    else:
        names, labels = _read_lines(listed_in)
        classes = [str(label) for label in range(_CLASSES[dataset])]
    folders = (".", _PLACES_IMAGES, split)
    root = next(
        (data_dir / folder for folder in folders if names and (data_dir / folder / names[0]).is_file()), data_dir
    )
    return root, index_listed(root, names, labels, classes, listed_in)


def _read_lines(path):
    """Lines of a path and a label, with a space, a comma or a tab between them."""
    names, labels = [], []
    for number, line in enumerate(lines_of(path), 1):
        name, _, label = line.replace(",", " ").replace("\t", " ").rpartition(" ")
        if not (name.strip() and label.isascii() and label.isdigit() and len(label) < 10):
            raise ValueError(f"data_dir: {path}:{number}: '{printable(line[:80])}' is not a path and a label; mend it")
        names.append(name.strip())
        labels.append(int(label))
    return names, labels


def _read_json(path):
    """Images, annotations and categories, as of COCO. Labels are the places of the categories in order of their ids."""
    try:
        content = json.loads(Path(path).read_bytes())
        categories = sorted((category["id"], str(category["name"])) for category in content["categories"])
        place = {category: label for label, (category, _) in enumerate(categories)}
        of_image = {note["image_id"]: place[note["category_id"]] for note in content["annotations"]}
        names = [os.fspath(image["file_name"]) for image in content["images"]]
        labels = [of_image[image["id"]] for image in content["images"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"data_dir: {path} is damaged: no images, annotations and categories ({error!r:.80}); fetch it again"
        ) from None
    return names, np.array(labels, np.int64), [name for _, name in categories]
