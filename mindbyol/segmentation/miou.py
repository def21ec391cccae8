"""Mean intersection over union: pixels are counted over a whole data set, then each class has its share."""

import numpy as np

from mindbyol.data.masks import IGNORED


def count_areas(prediction, mask, num_classes):
    """Counts the pixels of one image.

    Args:
        prediction (ndarray): Whole numbers (H, W), classes.
        mask (ndarray): uint8 (H, W), classes; `IGNORED` does not count.
        num_classes (int): Classes.

    Returns:
        ndarray: int64 (3, num_classes): pixels of each class in both, in the prediction, and in the mask.
    """
    counts = mask != IGNORED
    prediction, mask = prediction[counts], mask[counts]
    parts = (mask[prediction == mask], prediction, mask)
    return np.stack([np.bincount(part, minlength=num_classes) for part in parts]).astype(np.int64)


def scores(areas, class_names):
    """The scores of the areas of all images, in percent.

    Args:
        areas (ndarray): (3, C), sums of `count_areas`.
        class_names (sequence[str]): Of the C classes.

    Returns:
        dict[str, float]: `miou`, the mean over the classes of intersection over union; `mean_accuracy`, the mean over
        the classes of the share of their pixels that were found; `pixel_accuracy`, that of all pixels; and of each
        class its `iou_NAME`. Classes that are neither there nor predicted are in no mean, and have no score.
    """
    both, predicted, labelled = areas.astype(np.float64)
    union = predicted + labelled - both
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, accuracy = 100 * both / union, 100 * both / labelled
    found = {
        "miou": float(iou[union > 0].mean()) if union.any() else float("nan"),
        "mean_accuracy": float(accuracy[labelled > 0].mean()) if labelled.any() else float("nan"),
        "pixel_accuracy": float(100 * both.sum() / labelled.sum()) if labelled.any() else float("nan"),
    }
    of_classes = {f"iou_{name.replace(' ', '_')}": value for name, value in zip(class_names, iou.tolist())}
    return {**found, **{name: value for name, value in of_classes.items() if np.isfinite(value)}}
