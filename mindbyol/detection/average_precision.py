"""VOC's average precision of boxes, as MMDetection has it for VOC."""

import numpy as np

from mindbyol.detection.detections import iou

MODES = ("11points", "area")
_INCLUSIVE = 1.0  # IoU takes a box to end with its last pixel


def match(boxes, objects, neutral, threshold):
    """Which detections of a class in an image are hits.

    A detection belongs to the one object that it overlaps most, and is a hit if it does so by the threshold and none
    before it did. What belongs to a neutral object by that threshold does not count.

    Args:
        boxes (numpy.ndarray): (K, 4) detections, the highest score first.
        objects (numpy.ndarray): (G, 4) objects of the class.
        neutral (numpy.ndarray): bool (G,): those that are difficult.
        threshold (float): Least IoU.

    Returns:
        numpy.ndarray: int8 (K,): 1 for a hit, 0 for a false one, -1 where it does not count.
    """
    found = np.zeros(len(boxes), np.int8)
    if not len(objects):
        return found
    overlaps = iou(boxes, objects, _INCLUSIVE)
    taken = np.zeros(len(objects), bool)
    for place, (best, overlap) in enumerate(zip(overlaps.argmax(1), overlaps.max(1))):
        if overlap < threshold:
            continue
        if neutral[best]:
            found[place] = -1
        elif not taken[best]:
            taken[best] = True
            found[place] = 1
    return found


def average_precision(scores, hits, count, mode):
    """The area below the curve of precision over recall.

    Args:
        scores (numpy.ndarray): (K,) of the detections of a class in all images; of equal ones the first comes first.
        hits (numpy.ndarray): (K,), see `match`.
        count (int): Objects of the class in all images, without neutral ones.
        mode (str): "11points", the mean of the highest precision at a recall of 0, 0.1, ..., 1 or more, as of VOC 2007;
            or "area", with precision made to fall, as since VOC 2010.

    Returns:
        float: From 0 to 1; NaN where there are no objects.
    """
    if not count:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = hits[order]
    hits = hits[hits >= 0]
    right = np.cumsum(hits)
    recall = right / count
    precision = right / np.arange(1, len(hits) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or more
    if mode == "11points":
        # These steps are 0.30000000000000004 and the like, as in VOC's own code and in MMDetection: 3 of 10 are less.
        at = np.searchsorted(recall, np.arange(0, 1 + 1e-3, 0.1))
        return float(np.sum(highest[at[at < len(hits)]]) / 11)
    return float(np.sum(np.diff(recall, prepend=0) * highest))


def voc_scores(rows, targets, class_names, mode, threshold=0.5):
    """Mean average precision, and that of each class, in percent.

    Args:
        rows (numpy.ndarray): (K, 7): image, class, score and box of each detection; see `results.Found`.
        targets (iterable[Objects]): The objects of each image, in the order of the source.
        class_names (list[str]): Of all classes.
        mode (str): See `average_precision`.
        threshold (float): Least IoU of a hit.

    Returns:
        dict[str, float]: `ap50`, the mean over the classes that have objects, and `ap50_CLASS` of each of these; the
        number is that of the threshold.
    """
    count = len(class_names)
    counts, scores, hits = np.zeros(count, np.int64), [[] for _ in range(count)], [[] for _ in range(count)]
    rows = rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]
    places = rows[:, 0].astype(np.int64) * count + rows[:, 1].astype(np.int64)  # a number for image and class
    for image, target in enumerate(targets):
        counts += np.bincount(target.classes[~target.neutral], minlength=count)
        for label in range(count):
            first, last = np.searchsorted(places, image * count + label + np.arange(2))
            own = target.classes == label
            scores[label].append(rows[first:last, 2])
            hits[label].append(match(rows[first:last, 3:], target.boxes[own], target.neutral[own], threshold))
    per_class = {
        name: 100 * average_precision(np.concatenate(scores[label]), np.concatenate(hits[label]), counts[label], mode)
        for label, name in enumerate(class_names)
        if counts[label]
    }
    name = f"ap{round(100 * threshold)}"
    mean = float(np.mean(list(per_class.values()))) if per_class else float("nan")
    return {name: mean, **{f"{name}_{label}": value for label, value in per_class.items()}}
