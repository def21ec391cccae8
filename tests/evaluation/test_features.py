from types import SimpleNamespace

import numpy as np

from mindspore import Tensor

from mindbyol.data.batch import Batch
from mindbyol.evaluation.features import extract

IMAGES = np.arange(10, dtype=np.uint8).repeat(3).reshape(10, 3, 1, 1)  # image k is all k
LABELS = np.arange(10, dtype=np.int32) % 4


class Loader:
    """Batches of 2 from a contiguous share of the images; the last ones are padded with copies of image 9."""

    def __init__(self, first, end, batches, labels):
        self.source = SimpleNamespace(labels=labels)
        self.batches = []
        for start in range(first, first + 2 * batches, 2):
            rows = np.arange(start, min(start + 2, end))
            padded = np.concatenate([rows, np.full(2 - len(rows), 9)]).astype(int)
            counts = np.arange(2) < len(rows)
            given = None if labels is None else labels[padded]
            self.batches.append(Batch({"image": IMAGES[padded]}, given, np.where(counts, padded, -1), counts))

    def __iter__(self):
        return iter(self.batches)


def extractor(images):
    """Two features an image, 10 k and 10 k + 1; the loader's images come as tensors."""
    return 10.0 * images.reshape(len(images), -1)[:, :2] + Tensor([0.0, 1.0])


def gathered(loaders):
    """What each rank gives to `gather`, batch by batch: all ranks run, one after the other, before one goes on."""
    given = []
    for loader in loaders:
        rows = []
        extract(extractor, loader, lambda array: rows.append(array) or array[None])
        given.append(rows)
    return [np.stack(batch) for batch in zip(*given)]


def features_of_two_ranks(labels):
    """Rank 0 has images 0 to 6 in 4 batches, rank 1 images 7 to 9 in 2 batches and 2 of padding alone."""
    shares = [(0, 7), (7, 10)]
    loaders = [Loader(first, end, 4, labels) for first, end in shares]
    batches = iter(gathered(loaders))
    return extract(extractor, loaders[0], lambda _: next(batches))


def test_rows_of_all_ranks_come_in_the_order_of_the_source_and_padding_is_left_out():
    features, labels = features_of_two_ranks(LABELS)
    np.testing.assert_array_equal(features, [[10 * k, 10 * k + 1] for k in range(10)])
    np.testing.assert_array_equal(labels, LABELS)
    assert features.dtype == np.float32 and labels.dtype == np.int32


def test_a_source_without_labels_gives_none():
    features, labels = features_of_two_ranks(None)
    assert features.shape == (10, 2) and labels is None


def test_one_rank_has_everything():
    features, labels = extract(extractor, Loader(0, 10, 5, LABELS), lambda array: array[None])
    np.testing.assert_array_equal(features[:, 0], 10 * np.arange(10))
    np.testing.assert_array_equal(labels, LABELS)
