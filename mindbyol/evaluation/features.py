"""Features of a frozen backbone: one float32 row an image."""

import numpy as np

import mindspore as ms
from mindspore import Tensor, nn

from mindbyol.byol import Normalize
from mindbyol.data.loader import share


class FeatureExtractor(nn.Cell):
    """uint8 images to float32 features, with the running statistics of batch norm.

    Args:
        backbone (Cell): See `backbones.create_backbone`; or another network of normalised images, (N, 3, H, W) to
            (N, F).
        mean, std (sequence[float]): See `byol.Normalize`.
    """

    def __init__(self, backbone, mean, std):
        super().__init__(auto_prefix=False)
        self.normalize = Normalize(mean, std)
        self.backbone = backbone
        self.set_train(False)

    def construct(self, images):
        return self.backbone(self.normalize(images)).astype(ms.float32)


def pixels(images):
    """Raw pixels in the place of features: (B, 3, H, W) to (B, 3 H W)."""
    return images.reshape(len(images), -1)


def compute(extractor, loader):
    """Runs a loader through an extractor; the device computes a batch while the last one is fetched from it.

    Args:
        extractor (Callable[[Tensor], Tensor]): (B, 3, H, W) uint8 to (B, F), such as a FeatureExtractor.
        loader (iterable[Batch]): Its batches hold "image", uint8 (B, 3, H, W).

    Yields:
        tuple[ndarray, ndarray, ndarray]: Features (B, F) float32, and `indices` and `counts` of the batch.
    """
    waiting = None
    for batch in loader:
        found = extractor(Tensor(batch.arrays["image"])), batch.indices, batch.counts
        if waiting:
            yield _fetch(*waiting)
        waiting = found
    if waiting:
        yield _fetch(*waiting)


def _fetch(features, indices, counts):
    return features.asnumpy().astype(np.float32, copy=False), indices, counts


def extract(extractor, loader, gather):
    """Runs a loader through an extractor, each rank its share, and hands all ranks the rows of all.

    Args:
        extractor (Callable[[Tensor], Tensor]): As of `compute`.
        loader (EvalLoader): The same number of batches on all ranks. No image may be left out.
        gather (Callable[[ndarray], ndarray]): (B, C) to (ranks, B, C); see `runtime.Communicator.gather`.

    Yields:
        tuple[int, ndarray, ndarray]: Some rows of the features of the source, every row once: the number of the first,
        the rows (n, F) float32, and the indices (n,) of the images that they are of. These are other ones than the
        rows' own where an image could not be read.
    """
    done = 0  # batches
    for features, indices, counts in compute(extractor, loader):
        # Indices travel as halves of 16 bits beside the features: every device target can gather float32.
        halves = indices.astype("<i4").view("<u2").reshape(-1, 2)
        parts = gather(np.column_stack([features, halves, counts]).astype(np.float32, copy=False))
        for rank, part in enumerate(parts):
            part = part[part[:, -1] == 1]
            first = share(len(loader.source), rank, len(parts)).start + done * len(features)
            images = part[:, -3:-1].astype("<u2").view("<i4").ravel()
            yield first, part[:, :-3], images
        done += 1


def in_memory(count, parts):
    """Joins the rows of `extract`, without a second copy of them.

    Args:
        count (int): Rows in all.
        parts (iterable): As `extract` yields them.

    Returns:
        tuple[ndarray, ndarray]: The features (count, F) float32, and the indices (count,) of the images they are of.
    """
    features, images = None, np.empty(count, np.int64)
    for first, rows, of in parts:
        if features is None:
            features = np.empty((count, rows.shape[1]), np.float32)
        features[first : first + len(rows)] = rows
        images[first : first + len(rows)] = of
    return features, images
