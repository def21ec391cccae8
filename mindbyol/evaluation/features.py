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
        loader (EvalLoader): Its batches hold "image", uint8 (B, 3, H, W). The same number of batches on all ranks, the
            shares contiguous and in the order of ranks.
        gather (Callable[[ndarray], ndarray]): (B, C) to (ranks, B, C); see `runtime.Communicator.gather`.

    Returns:
        tuple[ndarray, ndarray or None]: Features (N, F) float32 and labels (N, ...) of the source's dtype, every image
        once, in the order of the source.
    """
    shares, labels = None, loader.source.labels
    for batch in loader:
        features = extractor(Tensor(batch.arrays["image"])).asnumpy().astype(np.float32)
        # Labels and marks travel in float32 beside the features: every device target can gather that.
        known = np.full((len(features), 1), -1) if labels is None else batch.labels.reshape(len(features), -1)
        rows = gather(np.column_stack([features, known, batch.counts]).astype(np.float32))
        shares = shares or [[] for _ in rows]
        for share, part in zip(shares, rows):
            share.append(part[part[:, -1] == 1, :-1])
    rows = np.concatenate([part for share in shares for part in share])
    width = features.shape[1]
    if labels is None:
        return rows[:, :width], None
    return rows[:, :width], rows[:, width:].reshape(-1, *labels.shape[1:]).astype(labels.dtype)
