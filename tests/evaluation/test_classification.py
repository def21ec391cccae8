import numpy as np
import pytest

from mindspore import Tensor, nn

from mindbyol.checkpoint import NonFinite
from mindbyol.data.batch import Batch
from mindbyol.evaluation.classification import best_of, count_hits, evaluating, score, scores_of, summary


def test_by_hand():
    logits = np.array([[3, 2, 1, 0, -1, -2], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [1, 0, 0, 0, 0, 0]], np.float32)
    table = count_hits(logits, np.array([0, 5, 0, 1], np.int32))
    # class 0: two images, one first and the other sixth; class 1: behind class 0, before its equals; class 5: first
    assert table.tolist() == [[2, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 1, 1]]
    scores = scores_of(table)
    assert scores == {"top1": 50.0, "top5": 75.0, "mean_per_class": pytest.approx(100 * (0.5 + 0 + 1) / 3)}


def test_equal_logits_count_as_argmax_has_them():
    logits, labels = np.zeros((6, 6), np.float32), np.arange(6)
    table = count_hits(logits, labels)
    assert table[:, 1].tolist() == [1, 0, 0, 0, 0, 0] and table[:, 2].tolist() == [1, 1, 1, 1, 1, 0]
    assert (logits.argmax(1) == labels).sum() == table[:, 1].sum()


def test_against_sorting():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 11)).astype(np.float32), rng.integers(0, 11, 500)
    first = np.argsort(-logits, 1)
    scores = scores_of(count_hits(logits, labels))
    assert scores["top1"] == pytest.approx(100 * (first[:, 0] == labels).mean())
    assert scores["top5"] == pytest.approx(100 * (first[:, :5] == labels[:, None]).any(1).mean())
    by_class = [(first[labels == c, 0] == c).mean() for c in range(11)]
    assert scores["mean_per_class"] == pytest.approx(100 * np.mean(by_class))


def test_logits_that_are_no_numbers_are_no_guess():
    with pytest.raises(NonFinite, match="the logits of some images are NaN"):
        count_hits(np.array([[np.nan, 1]], np.float32), np.array([0]))


def test_rows_that_do_not_count_and_shares_of_ranks():
    """Seven images in batches of four on two ranks: the last row of one rank's share is no image."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 8, 3)).astype(np.float32), rng.integers(0, 3, 8).astype(np.int32)
    expected = [scores_of(count_hits(of_head[:7], labels[:7])) for of_head in logits]

    def of_rank(rank, gather):
        rows = np.arange(4 * rank, 4 * rank + 4)
        batch = Batch({"image": rows.astype(np.int32)}, labels[rows], rows, rows < 7)
        return score(lambda images: [Tensor(of_head[images.asnumpy()]) for of_head in logits], [batch], gather)

    handed_in = [[], []]
    for rank in range(2):
        of_rank(rank, lambda array: handed_in[rank].append(array) or array[None])
    messages = iter(zip(*handed_in))
    found = of_rank(0, lambda _: np.stack(next(messages)))
    assert found.scores == [pytest.approx(of_head) for of_head in expected] and found.images_per_second is None


def test_the_best_of_several_is_the_first_score():
    found = [{"top1": 10.0, "top5": 50.0}, {"top1": 20.0, "top5": 40.0}, {"top1": 20.0, "top5": 60.0}]
    assert best_of(found) == 1
    scores = summary(["a", "b", "c"], found, 1)
    assert list(scores)[0] == "top1" and scores["top1"] == 20.0 and scores["top5"] == 40.0
    assert scores["c_top5"] == 60.0 and scores["a_top1"] == 10.0
    assert summary([""], found[:1], 0) == found[0]


def test_evaluation_mode_ends_with_the_block():
    network = nn.SequentialCell(nn.BatchNorm2d(2), nn.SequentialCell(nn.BatchNorm2d(2))).set_train()
    network[1].set_train(False)
    before = {name: cell.training for name, cell in network.cells_and_names()}
    with evaluating(network):
        assert not any(cell.training for _, cell in network.cells_and_names())
    assert {name: cell.training for name, cell in network.cells_and_names()} == before
    assert network[0].training and not network[1][0].training
