"""Batches on their way from a loader to the step."""

import gc
import threading

import numpy as np
import pytest

import mindspore as ms
from mindspore import nn, ops

from mindbyol.data.decode import DataError
from mindbyol.training import feeding
from mindbyol.training.feeding import Feed

SIZE = 2**20


class Loader:
    """Batches of one image and its number, each in memory of its own, which goes back to the system when it is free."""

    def __init__(self, count, error=None):
        self.count = count
        self.error = error
        self.given, self.ended = 0, threading.Event()

    def __iter__(self):
        try:
            for number in range(self.count):
                self.given += 1
                yield np.full((1, SIZE), number, np.uint8), np.full(1, number, np.int32)
            if self.error:
                raise self.error
        finally:
            self.ended.set()


class Sum(nn.Cell):
    def construct(self, image, number):
        return ops.reduce_sum(image.astype(ms.float32)), number.astype(ms.float32)


def test_the_step_gets_each_batch_as_it_was():
    """Tensors live on memory of NumPy: a step that has begun, and one that keeps its inputs, must see it unchanged."""
    step, results, kept = Sum(), [], []
    feed = Feed(Loader(40), lambda batch: batch)
    feed.check_first()
    for batch in feed:
        results.append(step(*batch))  # read later: the device may still be at it when the next batch comes
        if len(kept) < 3:
            kept.append(batch)
        del batch
        gc.collect(0)
    feed.close()
    assert [int(number.asnumpy()[0]) for _, number in results] == list(range(40))
    assert [float(total.asnumpy()) for total, _ in results] == [SIZE * number for number in range(40)]
    assert [(image.asnumpy() == number).all() for number, (image, _) in enumerate(kept)] == [True] * 3


def test_nothing_is_copied():
    arrays = []
    feed = Feed(Loader(2), lambda batch: arrays.append(batch[0]) or batch[:1])
    (tensor,) = next(iter(feed))
    arrays[0][0, 5] = 77
    assert tensor.asnumpy()[0, 5] == 77
    feed.close()


def test_no_more_than_two_batches_lie_ready():
    loader = Loader(40)
    feed = Feed(loader, lambda batch: batch)
    batches = iter(feed)
    for taken in range(1, 5):
        next(batches)
        assert loader.given <= taken + 2
    feed.close()
    assert loader.ended.wait(5) and loader.given <= 4 + 3


def test_what_a_loader_raises_comes_out_in_its_place():
    feed = Feed(Loader(3, DataError("data_dir: gone")), lambda batch: batch[1:])
    seen = []
    with pytest.raises(DataError, match="data_dir: gone"):
        for (number,) in feed:
            seen.append(int(number.asnumpy()[0]))
    assert seen == [0, 1, 2]
    with pytest.raises(DataError, match="not one"):
        Feed(Loader(0, DataError("not one")), lambda batch: batch).check_first()


def test_a_loader_without_batches_is_over_at_once():
    feed = Feed(Loader(0), lambda batch: batch)
    feed.check_first()
    assert list(feed) == []


def test_the_time_for_which_the_step_waits_counts(monkeypatch):
    """The clock moves while the third batch is asked for and not there; and before, while the first one is made."""
    now, asked = [0.0], threading.Event()

    class Late(Loader):
        def __iter__(self):
            for number, batch in enumerate(super().__iter__()):
                if number == 2:
                    asked.wait()
                now[0] += 7 * (number in (0, 2))
                yield batch

    def clock():
        value = now[0]
        if taken == 2:
            asked.set()
        return value

    monkeypatch.setattr(feeding.time, "monotonic", clock)
    taken = 0
    feed = Feed(Late(3), lambda batch: batch)
    feed.check_first()
    assert feed.wait_seconds == 0
    for _ in feed:
        taken += 1
        assert feed.wait_seconds == (7 if taken == 3 else 0)
    feed.close()
