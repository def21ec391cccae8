"""The losses of Faster R-CNN, each summed over the boxes that were drawn, over their number, as in MMDetection.

Losses of boxes count positive ones alone, but are divided by the same number.
"""

import mindspore as ms
from mindspore import ops


def _mean_over_drawn(values, counts, is_drawn):
    """The sum of values (B, N) where they count, over the number of boxes drawn."""
    total = (values * counts.astype(ms.float32)).sum()
    return total / ops.maximum(is_drawn.astype(ms.float32).sum(), 1.0)


def objectness_loss(scores, is_positive, is_drawn):
    """Binary cross-entropy of "there is an object".

    Args:
        scores (Tensor): (B, N) float32, logits.
        is_positive, is_drawn (Tensor): bool (B, N), see `assignment.sample`.

    Returns:
        Tensor: Scalar.
    """
    # log(1 + exp(-|s|)) + max(s, 0) - s t, which no score makes infinite
    losses = ops.maximum(scores, 0.0) - scores * is_positive.astype(ms.float32)
    losses = losses + ops.log1p(ops.exp(-ops.abs(scores)))
    return _mean_over_drawn(losses, is_drawn, is_drawn)


def class_loss(logits, classes, is_drawn):
    """Cross-entropy of the class.

    Args:
        logits (Tensor): (B, N, K) float32.
        classes (Tensor): int32 (B, N), the true one, 0 to K - 1.
        is_drawn (Tensor): bool (B, N).

    Returns:
        Tensor: Scalar.
    """
    number = logits.shape[-1]
    is_true = (ops.expand_dims(classes, -1) == ops.arange(number).astype(ms.int32)).astype(ms.float32)
    losses = -(ops.log_softmax(logits, -1) * is_true).sum(-1)
    return _mean_over_drawn(losses, is_drawn, is_drawn)


def box_loss(deltas, targets, is_positive, is_drawn):
    """L1 distance from what `boxes.encode` gives.

    Args:
        deltas, targets (Tensor): (B, N, 4) float32.
        is_positive, is_drawn (Tensor): bool (B, N).

    Returns:
        Tensor: Scalar.
    """
    return _mean_over_drawn(ops.abs(deltas - targets).sum(-1), is_positive, is_drawn)
