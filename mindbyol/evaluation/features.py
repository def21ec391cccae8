"""Features of a frozen backbone: one float32 row an image."""

import numpy as np

from mindspore import Tensor, nn


class FeatureExtractor(nn.Cell):
    """uint8 images to pooled features, with the running statistics of batch norm.

    Args:
        backbone (Cell): See `backbones.create_backbone`.
        normalize (Cell): See `byol.Normalize`.
    """

    def __init__(self, backbone, normalize):
        super().__init__(auto_prefix=False)
        self.normalize = normalize
        self.backbone = backbone
        self.set_train(False)

    def construct(self, images):
        return self.backbone(self.normalize(images))


def extract(extractor, loader):
    """Runs a loader through an extractor.

    Args:
        extractor (Callable[[Tensor], Tensor]): (B, 3, H, W) uint8 to (B, F), such as a FeatureExtractor.
        loader (Iterable): Yields (images, labels or None, count): uint8 (B, 3, H, W), int32 (B,), and how many of the
            rows are real; the rest pads the batch to a constant size.

    Returns:
        tuple[ndarray, ndarray or None]: Features (N, F) float32 and labels (N,), in the loader's order.
    """
    features, labels = [], []
    for images, label, count in loader:
        features.append(extractor(Tensor(images)).asnumpy()[:count].astype(np.float32))
        if label is not None:
            labels.append(np.asarray(label[:count]))
    return np.concatenate(features), np.concatenate(labels) if labels else None
