import numpy as np
import pytest

from mindspore import Tensor

from mindbyol.data.batch import Batch
from mindbyol.data.loader import share
from mindbyol.evaluation.features import extract, in_memory

IMAGES = np.arange(10, dtype=np.uint8).repeat(3).reshape(10, 3, 1, 1)  # image k is all k


class Loader:
    """The images of a rank in batches of 2, of which the last ones may be padding alone; image 2 is read as image 3."""

    def __init__(self, rank, ranks):
        self.source = IMAGES
        rows = np.arange(10)[share(10, rank, ranks)]
        self.batches = []
        for start in range(0, -(-10 // ranks), 2):
            of = np.where(rows == 2, 3, rows)[start : start + 2]
            indices = np.concatenate([of, [-1, -1]])[:2]
            self.batches.append(Batch({"image": IMAGES[indices]}, None, indices, indices >= 0))

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
        for _ in extract(extractor, loader, lambda array: rows.append(array) or array[None]):
            pass
        given.append(rows)
    return [np.stack(batch) for batch in zip(*given)]


@pytest.mark.parametrize(
    "ranks", [1, 2, 4]
)  # 10 images, 5 and 5, or 3, 3, 3 and 1, the last of which has a batch of none
def test_rows_of_all_ranks_come_in_the_order_of_the_source_and_padding_is_left_out(ranks):
    loaders = [Loader(rank, ranks) for rank in range(ranks)]
    for rank in range(ranks):
        batches = iter(gathered(loaders))
        features, images = in_memory(10, extract(extractor, loaders[rank], lambda _: next(batches)))
        np.testing.assert_array_equal(images, [0, 1, 3, 3, 4, 5, 6, 7, 8, 9])
        np.testing.assert_array_equal(features, [[10 * k, 10 * k + 1] for k in images])
        assert features.dtype == np.float32


def test_indices_of_millions_of_images_survive_float32():
    batch = Batch({"image": IMAGES[:2]}, None, np.array([2**24 + 1, 2**31 - 1]), np.ones(2, bool))
    loader = Loader(0, 1)
    loader.batches = [batch]
    ((_, _, images),) = extract(extractor, loader, lambda array: array[None])
    np.testing.assert_array_equal(images, batch.indices)
