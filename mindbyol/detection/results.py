"""What was found in all images: gathered over the ranks, and written as VOC's text files or COCO's JSON."""

import json
from pathlib import Path

import numpy as np

from mindbyol.files import replacing

_BOX_PLACES, _SCORE_PLACES = 3, 6  # decimals in files


class Found:
    """The detections of the images of a rank, or of all.

    Attributes:
        rows (numpy.ndarray): float32 (K, 7), one a detection: number of the image in its source, class, score, and
            x1, y1, x2, y2 in pixels.
        masks (list[bytes]): COCO's compressed run lengths of each; empty where there are only boxes.
    """

    def __init__(self):
        self._rows = [np.zeros((0, 7), np.float32)]
        self.masks = []

    @property
    def rows(self):
        return np.concatenate(self._rows)

    def add(self, image, detections):
        """Adds the detections of an image.

        Args:
            image (int): Its number in the source, below 2^24.
            detections (Detections): What was found.
        """
        count = len(detections.scores)
        columns = np.full(count, image), detections.classes, detections.scores
        self._rows.append(np.column_stack([*columns, detections.boxes]).astype(np.float32))
        self.masks += detections.masks or []

    def of_all_ranks(self, gather):
        """The detections of all ranks (Found), on all of them.

        Args:
            gather (Callable[[bytes], list[bytes]]): See `Tools.gather_bytes`.
        """
        found = Found()
        lengths = np.array([len(mask) for mask in self.masks], np.int32)
        parts = zip(*map(gather, (self.rows.tobytes(), lengths.tobytes(), b"".join(self.masks))))
        for rows, lengths, masks in parts:
            found._rows.append(np.frombuffer(rows, np.float32).reshape(-1, 7))
            ends = np.cumsum(np.frombuffer(lengths, np.int32))
            found.masks += [masks[end - length : end] for end, length in zip(ends, np.frombuffer(lengths, np.int32))]
        return found


def write_voc(folder, split, found, source):
    """Writes `comp4_det_<split>_<class>.txt` of each class: lines of image, score and box, its corners from 1.

    Args:
        folder (Path): Made if it is not there.
        split (str): For the names of the files.
        found (Found): Of all images.
        source (Source): Names of images and classes.

    Raises:
        OSError: A file cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = found.rows
    for label, name in enumerate(source.class_names):
        lines = []
        for image, _, score, *box in rows[rows[:, 1] == label].tolist():
            corners = " ".join(f"{side + 1:.{_BOX_PLACES}f}" for side in box)
            lines.append(f"{Path(source.name(int(image))).stem} {score:.{_SCORE_PLACES}f} {corners}\n")
        with replacing(folder / f"comp4_det_{split}_{name}.txt") as beside:
            beside.write_text("".join(lines), encoding="utf-8")


def coco_results(found, coco, kind):
    """Detections in COCO's form.

    Args:
        found (Found): Of all images.
        coco (CocoFile): The numbers of images and classes.
        kind (str): "bbox", or "segm" for masks.

    Returns:
        list[dict]: One a detection: image_id, category_id, score, and bbox (x, y, width, height) or segmentation.
    """
    results = []
    for place, (image, label, score, x1, y1, x2, y2) in enumerate(found.rows.tolist()):
        image = int(image)
        result = {"image_id": int(coco.image_ids[image]), "category_id": coco.category_ids[int(label)], "score": score}
        if kind == "bbox":
            result["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        else:
            size = [int(side) for side in coco.sizes[image]]
            result["segmentation"] = {"size": size, "counts": found.masks[place].decode()}
        results.append(result)
    return results


def write_coco(path, results):
    """Writes detections as COCO's server takes them.

    Args:
        path (Path): The JSON file; its folder is made if it is not there.
        results (list[dict]): See `coco_results`.

    Raises:
        OSError: It cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = [
        {
            **one,
            "score": round(one["score"], _SCORE_PLACES),
            **({"bbox": [round(side, _BOX_PLACES) for side in one["bbox"]]} if "bbox" in one else {}),
        }
        for one in results
    ]
    with replacing(path) as beside:
        beside.write_text(json.dumps(rounded), encoding="utf-8")
