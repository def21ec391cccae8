"""Which box learns from which object, and which boxes a loss takes.

Everything has a static shape: objects are padded to the same number an image, and what is drawn is a fixed number of
places, some of which may be unused.
"""

import mindspore as ms
from mindspore import ops

POSITIVE, NEGATIVE, UNUSED = 1, 0, -1

top_k = ops.TopK()  # the largest first; `ops.topk` is the same with checks that leave warnings in the log


def assign(overlaps, is_object, takes_part, positive, negative, lowest=None):
    """Gives each box an object, or none (Ren et al. 2015, section 3.1.2; MMDetection's MaxIoUAssigner).

    Args:
        overlaps (Tensor): (B, G, A) float32, IoU of each object with each box.
        is_object (Tensor): bool (B, G), False for padding.
        takes_part (Tensor): bool (B, A), False for boxes that must stay unused.
        positive (float): A box belongs to the object that it overlaps most if by at least this.
        negative (float): It is background if it overlaps all by less than this; between the two it is unused.
        lowest (float): Every object also takes the boxes that it overlaps most, all of equal ones, if by at least this,
            whatever else they belong to; a later object takes from an earlier one. None leaves this rule out.

    Returns:
        tuple[Tensor, Tensor]: Labels, int32 (B, A), POSITIVE, NEGATIVE or UNUSED; and the object of each positive box,
        int32 (B, A).
    """
    counts = ops.logical_and(ops.expand_dims(is_object, 2), ops.expand_dims(takes_part, 1))
    overlaps = ops.select(counts, overlaps, ops.full_like(overlaps, -1.0))
    largest = ops.reduce_max(overlaps, 1)  # (B, A)
    matched = ops.argmax(overlaps, 1).astype(ms.int32)
    labels = (largest >= positive).astype(ms.int32) * (POSITIVE - UNUSED) + UNUSED
    labels = ops.select(largest < negative, ops.full_like(labels, NEGATIVE), labels)
    if lowest is not None:
        best = ops.expand_dims(ops.reduce_max(overlaps, 2), 2)  # (B, G, 1)
        taken = ops.logical_and(overlaps == best, best >= lowest)
        numbers = ops.expand_dims(ops.arange(1, overlaps.shape[1] + 1).astype(ms.float32), 1)
        last = ops.reduce_max(taken.astype(ms.float32) * numbers, 1).astype(ms.int32) - 1  # -1: taken by none
        labels = ops.select(last >= 0, ops.full_like(labels, POSITIVE), labels)
        matched = ops.select(last >= 0, last, matched)
    return ops.select(takes_part, labels, ops.full_like(labels, UNUSED)), matched


def sample(labels, keys, number, most_positive):
    """Draws boxes for a loss: positive ones, at most so many, then negative ones until the number is reached.

    Args:
        labels (Tensor): int32 (B, A), see `assign`.
        keys (Tensor): float32 (B, A), random numbers in [0, 1): of the boxes of a kind, the highest are drawn.
        number (int): Boxes to draw an image.
        most_positive (int): Positive ones among them.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Places among the A boxes, int32 (B, number), the positive ones first; and bool
        (B, number) each: whether the place is a positive box, and whether it is drawn at all. Fewer are drawn where
        there are fewer; the places that are left hold any box.
    """
    none = ops.full_like(keys, -1.0)
    number = min(number, labels.shape[1])
    most_positive = min(most_positive, number)
    positive, places = top_k(ops.select(labels == POSITIVE, keys, none), most_positive)
    negative, other_places = top_k(ops.select(labels == NEGATIVE, keys, none), number)
    are_positive = positive >= 0
    left = number - are_positive.astype(ms.int32).sum(1, keepdims=True)
    ranks = ops.arange(number).astype(ms.int32)
    are_negative = ops.logical_and(negative >= 0, ranks < left)
    places = ops.cat((places.astype(ms.int32), other_places.astype(ms.int32)), 1)
    is_positive = ops.cat((are_positive, ops.zeros_like(negative) > 0), 1)
    is_drawn = ops.cat((are_positive, are_negative), 1)
    # the drawn ones come first, in the order in which they stand
    order = ops.arange(places.shape[1], 0, -1).astype(ms.float32) * is_drawn.astype(ms.float32)
    _, chosen = top_k(order, number)
    return take(places, chosen), take(is_positive, chosen), take(is_drawn, chosen)


def take(values, places):
    """Rows of each image by their places.

    Args:
        values (Tensor): (B, A, ...).
        places (Tensor): int (B, N).

    Returns:
        Tensor: (B, N, ...).
    """
    batch, count = values.shape[:2]
    starts = ops.expand_dims(ops.arange(batch).astype(ms.int32) * count, 1)
    rows = values.reshape((batch * count,) + values.shape[2:])
    return ops.gather(rows, places.astype(ms.int32) + starts, 0)
