"""Features of a frozen backbone: one float32 row an image."""

import numpy as np

from mindspore import Tensor, nn

from mindbyol.byol import Normalize


class FeatureExtractor(nn.Cell):
    """uint8 images to pooled features, with the running statistics of batch norm.

    Args:
        backbone (Cell): See `backbones.create_backbone`.
        mean, std (sequence[float]): See `byol.Normalize`.
    """

    def __init__(self, backbone, mean, std):
        super().__init__(auto_prefix=False)
        self.normalize = Normalize(mean, std)
        self.backbone = backbone
        self.set_train(False)

    def construct(self, images):
        return self.backbone(self.normalize(images))


def pixels(images):
    """Raw pixels in the place of features: (B, 3, H, W) to (B, 3 H W)."""
    return images.reshape(len(images), -1)


def extract(extractor, loader, gather):
    """Runs a loader through an extractor, each rank its share, and brings the rows of all ranks together.

    Args:
        extractor (Callable[[Tensor], Tensor]): (B, 3, H, W) uint8 to (B, F), such as a FeatureExtractor.
        loader (Iterable): Yields (images, labels or None, count): uint8 (B, 3, H, W), int32 (B,), and how many of the
            rows are real; the rest pads the batch to a constant size. The same number of batches on all ranks, the
            shares contiguous and in the order of ranks.
        gather (Callable[[ndarray], ndarray]): (B, F + 2) to (ranks, B, F + 2); see `runtime.Communicator.gather`.

    Returns:
        tuple[ndarray, ndarray or None]: Features (N, F) float32 and labels (N,) int32, every image once, in the order
        of the source.
    """
    shares = None
    for images, labels, count in loader:
        features = extractor(Tensor(images)).asnumpy().astype(np.float32)
        real = np.arange(len(features)) < count
        # Labels and marks travel in float32 beside the features: every device target can gather that.
        known = np.full(len(features), -1) if labels is None else labels
        rows = gather(np.column_stack([features, known, real]).astype(np.float32))
        shares = shares or [[] for _ in rows]
        for share, part in zip(shares, rows):
            share.append(part[part[:, -1] == 1, :-1])
    rows = np.concatenate([part for share in shares for part in share])
    return rows[:, :-1], None if loader.source.labels is None else rows[:, -1].astype(np.int32)
