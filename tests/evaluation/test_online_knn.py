import numpy as np
import pytest

from mindspore import Parameter, Tensor, nn, ops

from mindbyol.checkpoint import NonFinite
from mindbyol.config import parse_args
from mindbyol.data import eval_transform_from_args, source_from_args
from mindbyol.data.decode import decode
from mindbyol.evaluation.online_knn import OnlineKNN
from mindbyol.runtime import World

DIGITS = ["--dataset", "digits", "--image_resize", "8", "--crop_pct", "1", "--batch_size", "64", "--model", "tiny"]


class Pixels(nn.Cell):
    """Scaled pixels as features; their sign depends on the mode, as those of a network with batch norms do."""

    def __init__(self):
        super().__init__()
        self.scale = Parameter(Tensor(np.ones(192, np.float32)), name="scale")

    def construct(self, x):
        x = x.reshape((x.shape[0], -1)) * self.scale
        return -ops.abs(x) if self.training else x


def create(*argv):
    recipe = parse_args([*DIGITS, *argv])
    return recipe, OnlineKNN(recipe, World("CPU", 0, 1), source_from_args(recipe, recipe.train_split))


def brute_force(recipe, bank, queries):
    """Top-1 of 20 neighbours in float64, of pixels."""

    def features(source):
        transform = eval_transform_from_args(recipe)
        pixels = np.stack([transform(decode(source[i]))["image"] for i in range(len(source))]).astype(np.float64)
        mean, std = (np.reshape(values, (1, 3, 1, 1)) for values in (recipe.mean, recipe.std))
        rows = ((pixels - mean) / std).reshape(len(source), -1)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    similarity = features(queries) @ features(bank).T
    right = 0
    for row, label in zip(similarity, queries.labels):
        nearest = np.argsort(-row, kind="stable")[:20]
        votes = np.bincount(bank.labels[nearest], np.exp(row[nearest] / recipe.knn_temperature), minlength=10)
        right += votes.argmax() == label
    return 100 * right / len(queries)


def test_the_score_is_that_of_a_fixed_part_of_the_images():
    recipe, knn = create("--knn_samples", "200")
    assert len(knn.bank) == len(knn.queries) == 200
    assert np.bincount(knn.bank.labels).min() >= 15  # of each digit about as many
    network = Pixels().set_train()
    first = knn.score(network)
    assert first == {"knn20_top1": pytest.approx(brute_force(recipe, knn.bank, knn.queries))}
    assert network.training and first["knn20_top1"] > 85
    assert knn.score(network) == first
    scale = np.zeros(192, np.float32)
    scale[:8] = 1  # the first row of pixels alone
    network.scale.set_data(Tensor(scale))
    assert knn.score(network)["knn20_top1"] < 60  # of the weights as they are now


def test_all_images_take_part_where_there_are_few():
    _, knn = create()
    assert (len(knn.bank), len(knn.queries)) == (1442, 355)


def test_features_that_are_no_numbers_are_no_score():
    _, knn = create("--knn_samples", "64")
    network = Pixels()
    network.scale.set_data(Tensor(np.full(192, np.nan, np.float32)))
    with pytest.raises(NonFinite, match="features of 64 of 1442 images.* hold NaN"):
        knn.score(network)


def test_without_labels_or_a_split_there_is_none(tmp_path):
    with pytest.raises(ValueError, match="digits .*test"):
        create("--val_split", "test")
