"""Which images a detector is trained on, and which of them share a batch."""

import logging

import numpy as np

from mindbyol.data.image_files import Subset

logger = logging.getLogger(__name__)

SHORTEST = 32  # pixels of the shorter side


def for_training(source, most):
    """The images that have an object of the classes and a shorter side of 32 pixels or more, as MMDetection takes them.

    Objects that are marked as difficult, or are crowds, count here, though there is nothing to learn of them.

    Args:
        source (Source): With objects; see `image_files.ObjectFiles`.
        most (int): Objects of an image that are learned. Of images with more, a warning has their number.

    Returns:
        Subset: With `groups`, bool (N,): whether an image is lying. Lying and upright ones never share a batch.

    Raises:
        ValueError: There are no such images.
    """
    chosen = np.flatnonzero((source.object_counts > 0) & (source.sizes.min(1) >= SHORTEST))
    if not len(chosen):
        raise ValueError(
            f"dataset: {source.description}: no image has an object and a shorter side of {SHORTEST} pixels or more: "
            "nothing to learn; set another split"
        )
    learned = (source.object_counts - source.neutral_counts)[chosen]
    surplus = np.maximum(learned - most, 0)
    if surplus.any():
        logger.warning(
            f"max_objects: {np.count_nonzero(surplus)} of {len(chosen)} images have more than {most} objects to learn; "
            f"{surplus.sum()} of {learned.sum()} objects are left out, the last ones of their images"
        )
    if len(chosen) < len(source):
        logger.info(f"{len(source) - len(chosen)} of {source.description} have no object, or are too small: left out")
    found = Subset(source, chosen)
    found.groups = is_lying(*found.sizes.T)
    return found


def is_lying(height, width):
    """Whether an image goes on the lying canvas: it is as wide as high, or wider."""
    return width >= height
