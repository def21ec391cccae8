"""From the scores of anchors to proposals: the best, decoded, clipped, and without near copies."""

import mindspore as ms
from mindspore import nn, ops

from mindbyol.detection.assignment import take, top_k
from mindbyol.detection.boxes import clip, decode, has_area, iou

_LOWEST = -3e38  # below every score
TILE = 2048  # Boxes that NMSWithMask takes at a time: Ascend's takes 2,864.


class Suppress(nn.Cell):
    """Greedy non-maximum suppression of boxes that stand in the order of their scores.

    MindSpore's operator alone does it for up to `TILE` boxes. More are cut into tiles: in each, what overlaps a kept
    box of an earlier tile is suppressed first, which gives the same boxes.

    Args:
        threshold (float): A box goes if its IoU with a kept one before it is above this.

    Inputs:
        boxes (Tensor): (N, 4) float32, the one with the highest score first.
        takes_part (Tensor): bool (N,); the others are not kept and suppress none.

    Outputs:
        Tensor, bool (N,): which are kept.
    """

    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold
        self.operator = ops.NMSWithMask(threshold)

    def construct(self, boxes, takes_part):
        tiles, kept = (), ()
        for start in range(0, boxes.shape[0], TILE):
            tile, left = boxes[start : start + TILE], takes_part[start : start + TILE]
            for earlier, of_earlier in zip(tiles, kept):
                above = ops.logical_and(iou(tile, earlier) > self.threshold, of_earlier)
                left = ops.logical_and(left, ops.logical_not(above.any(1)))
            tiles += (tile,)
            kept += (self.of_tile(tile, left),)
        return ops.cat(kept)

    def of_tile(self, boxes, takes_part):
        count = boxes.shape[0]
        ranks = ops.arange(count).astype(ms.float32)
        # those that take no part are sent far away, where they overlap nothing
        left = -4.0 * (ranks + 3.0)
        away = ops.stack((left, left, left + 1.0, left + 1.0), 1)
        boxes = ops.select(ops.tile(ops.expand_dims(takes_part, 1), (1, 4)), boxes, away)
        # the CPU's kernel sorts by score, Ascend's does not: these scores are in order already
        scores = 1.0 - ranks / count
        _, _, kept = self.operator(ops.cat((boxes, ops.expand_dims(scores, 1)), 1))
        return ops.logical_and(kept, takes_part)


class Propose(nn.Cell):
    """Boxes in which there may be an object (Ren et al. 2015).

    Args:
        before (int): So many anchors with the highest scores are looked at.
        threshold (float): Of the suppression.
        after (int): So many proposals come out.

    Inputs:
        scores (Tensor): (B, A), in any monotonous scale.
        deltas (Tensor): (B, A, 4), see `boxes.encode`.
        anchors (Tensor): (A, 4).
        sizes (Tensor): (B, 2), true height and width of each image.

    Outputs:
        Tuple of boxes (B, P, 4), clipped to their images, the one with the highest score first, P being `after` or A if
        that is less; and bool (B, P), which of them are proposals: where fewer are left the others are empty. No
        gradient flows through them.
    """

    def __init__(self, before, threshold, after):
        super().__init__()
        self.before = before
        self.after = after
        self.suppress = Suppress(threshold)

    def construct(self, scores, deltas, anchors, sizes):
        boxes, _, kept = self.candidates(scores, deltas, anchors, sizes)
        before = boxes.shape[1]
        order = ops.arange(before, 0, -1).astype(ms.float32) * kept.astype(ms.float32)
        left, places = top_k(order, min(self.after, before))
        is_proposal = left > 0
        return take(boxes, places) * ops.expand_dims(is_proposal.astype(ms.float32), 2), is_proposal

    def candidates(self, scores, deltas, anchors, sizes):
        """The boxes of the highest scores, (B, N, 4), their scores and which are kept, (B, N), the highest first."""
        scores, deltas = ops.stop_gradient(scores), ops.stop_gradient(deltas)
        highest, places = top_k(scores, min(self.before, scores.shape[1]))
        chosen = ops.gather(anchors, places.astype(ms.int32), 0)
        boxes = clip(decode(chosen, take(deltas, places)), sizes)
        are_boxes = has_area(boxes)
        kept = ops.stack([self.suppress(*one) for one in zip(ops.unbind(boxes), ops.unbind(are_boxes))])
        return boxes, highest, kept


class ProposeOnLevels(nn.Cell):
    """The same on several maps: each has its own candidates and suppression, then the best of all maps are taken.

    Args:
        before, threshold (int, float): As of `Propose`, for each map.
        after (int): So many proposals come out.

    Inputs:
        scores, deltas, anchors (tuple[Tensor]): As of `Propose`, of each map.
        sizes (Tensor): (B, 2), true height and width of each image.

    Outputs:
        As of `Propose`.
    """

    def __init__(self, before, threshold, after):
        super().__init__()
        self.after = after
        self.of_level = Propose(before, threshold, after)

    def construct(self, scores, deltas, anchors, sizes):
        boxes, ranking = (), ()
        for of_scores, of_deltas, of_anchors in zip(scores, deltas, anchors):
            of_level, highest, kept = self.of_level.candidates(of_scores, of_deltas, of_anchors, sizes)
            boxes += (of_level,)
            ranking += (ops.select(kept, highest, ops.full_like(highest, _LOWEST)),)
        boxes, ranking = ops.cat(boxes, 1), ops.cat(ranking, 1)
        left, places = top_k(ranking, min(self.after, ranking.shape[1]))
        is_proposal = left > _LOWEST
        return take(boxes, places) * ops.expand_dims(is_proposal.astype(ms.float32), 2), is_proposal
