"""Scores frozen features by their nearest neighbours: weighted kNN (Wu et al. 2018), as mmselfsup and DINO do."""

import logging

import numpy as np

from mindbyol.config.common import BACKBONE, DATASET, EVALUATION, IMAGES, SYSTEM, check_images
from mindbyol.config.keys import Group, Key
from mindbyol.config.values import COUNT, POSITIVE
from mindbyol.data import eval_transform_from_args
from mindbyol.evaluation.neighbours import nearest

logger = logging.getLogger(__name__)

KEYS = (
    SYSTEM,
    DATASET,
    IMAGES,
    BACKBONE,
    EVALUATION,
    Group(
        "kNN parameters",
        (
            Key("knn_k", (10, 20, 100, 200), COUNT, "how many neighbours vote; each number is scored", nargs="+"),
            Key("knn_temperature", 0.07, POSITIVE, "the lower, the more the nearest of the neighbours count"),
        ),
    ),
)
_TOP = (1, 5)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    check_images(recipe)
    eval_transform_from_args(recipe)


def splits(recipe):
    """The bank, whose images vote, and the queries."""
    return {"bank": recipe.train_split, "queries": recipe.val_split}


def check_data(recipe, sources):
    """Everything that can be wrong between the recipe and the data.

    Args:
        recipe (Recipe): Of the task `knn`.
        sources (dict[str, Source]): The bank and the queries.

    Raises:
        ValueError: There are no labels, the classes are not the same, or the bank is too small.
    """
    bank, queries = sources["bank"], sources["queries"]
    check_classes(bank, queries)
    if recipe.train_split == recipe.val_split:
        logger.warning(f"val_split: {recipe.val_split} is the bank, too: every image finds itself")
    ks = possible_ks(recipe.knn_k, len(bank))
    if not ks:
        raise ValueError(f"knn_k: {min(recipe.knn_k)} neighbours asked for, but the bank has {len(bank)} images")
    if len(ks) < len(set(recipe.knn_k)):
        logger.warning(f"knn_k: the bank has {len(bank)} images, so only k = {ks} are scored")


def check_classes(bank, queries):
    """Makes sure that images of one source can vote on those of another one.

    Raises:
        ValueError: There are no labels, there are several an image, or the classes are not the same.
    """
    for source in (bank, queries):
        if source.labels is None:
            raise ValueError(f"dataset: {source.description}: no labels to score with")
        if source.labels.ndim > 1:
            raise ValueError(f"dataset: {source.description} has several classes an image; kNN needs one: use task svm")
    if bank.class_names != queries.class_names:
        raise ValueError(
            f"dataset: the classes of {bank.description} and of {queries.description} are not the same: "
            "equal numbers would not mean equal classes"
        )


def possible_ks(ks, bank_size):
    """The numbers of neighbours that a bank of this size has, in ascending order."""
    return sorted(k for k in set(ks) if k <= bank_size)


def run(recipe, subject, sources, tools):
    """Yields `knn{k}_top1` and `knn{k}_top5` for each k, in percent."""
    bank = tools.features(subject, sources["bank"])
    yield from vote(recipe, tools, bank, tools.features(subject, sources["queries"]))


def vote(recipe, tools, bank, queries):
    """The scores of queries by a bank: see `run`. Each rank scores its share of the queries.

    Args:
        recipe (Recipe): `knn_k` and `knn_temperature` count.
        tools (Tools): Of the evaluation.
        bank, queries (tuple[ndarray, ndarray]): Features and labels, (N, F) and (N,).

    Yields:
        tuple[str, float]: Name and score.
    """
    (bank, bank_labels), (queries, labels) = bank, queries
    knn = WeightedKNN(possible_ks(recipe.knn_k, len(bank)), recipe.knn_temperature).fit(bank, bank_labels)
    mine = tools.share(len(queries))
    correct = knn.correct(queries[mine], labels[mine])
    for name, count in zip(correct, tools.total(list(correct.values()))):
        yield name, 100.0 * count / len(queries)


class WeightedKNN:
    """Cosine similarity; the k nearest vote for their class with weight exp(similarity / temperature).

    Of equally similar neighbours those with lower indices in the bank vote; of classes with as many votes the one with
    the lower number is first.

    Args:
        ks (sequence[int]): Numbers of neighbours to score at once.
        temperature (float): Of the weights; 0.07 in mmselfsup.
        tile, block (int): Rows of the bank and queries that are compared at a time; see `neighbours.nearest`.
    """

    def __init__(self, ks=(10, 20, 100, 200), temperature=0.07, tile=8192, block=512):
        self.ks = tuple(ks)
        self.temperature = temperature
        self.tile = tile
        self.block = block

    def fit(self, features, labels):
        """Takes the bank, without a copy.

        Args:
            features (ndarray): (N, D), float.
            labels (ndarray): (N,), whole numbers from 0.

        Raises:
            ValueError: More neighbours are asked for than there are.
        """
        if max(self.ks) > len(features):
            raise ValueError(f"knn_k: {max(self.ks)} neighbours asked for, but the bank has {len(features)} images")
        self.bank_ = features
        self.labels_ = np.asarray(labels)
        return self

    def score(self, features, labels):
        """Share of queries whose class is among the one, and the five, classes with most votes.

        Args:
            features (ndarray): (M, D), float.
            labels (ndarray): (M,).

        Returns:
            dict[str, float]: `knn{k}_top1` and `knn{k}_top5` for each k, in percent.
        """
        return {name: 100.0 * count / len(labels) for name, count in self.correct(features, labels).items()}

    def correct(self, features, labels):
        """How many queries `score` counts; a class without a vote is never among the first.

        Returns:
            dict[str, int]: As of `score`, but numbers of queries.
        """
        labels = np.asarray(labels)
        similarity, index = nearest(self.bank_, features, max(self.ks), self.tile, self.block)
        correct = {(k, t): 0 for k in self.ks for t in _TOP}
        for start in range(0, len(labels), self.block):
            rows = slice(start, start + self.block)
            for k in self.ks:
                place = places(similarity[rows, :k], self.labels_[index[rows, :k]], labels[rows], self.temperature)
                for t in _TOP:
                    correct[k, t] += int((place < t).sum())
        return {f"knn{k}_top{t}": count for (k, t), count in correct.items()}


def places(similarity, labels, wanted, temperature):
    """How many classes stand before the wanted one when neighbours have voted.

    Args:
        similarity (ndarray): (M, k), of the neighbours of M queries, in descending order.
        labels (ndarray): (M, k), the classes of the neighbours.
        wanted (ndarray): (M,), the classes of the queries.
        temperature (float): A neighbour has exp(similarity / temperature) votes.

    Returns:
        ndarray: (M,), float: 0 where the wanted class has most votes, infinity where it has none.
    """
    classes, labels = np.unique(np.column_stack([wanted, labels]), return_inverse=True)  # only those that are there
    labels = labels.reshape(len(wanted), -1)
    wanted, labels = labels[:, :1], labels[:, 1:]
    shape = len(wanted), len(classes)
    cells = np.arange(len(wanted))[:, None] * len(classes) + labels  # in a table of queries and classes, row by row
    # Logarithms of votes: at a low temperature exp() itself would overflow, and then vanish.
    weights = similarity / temperature
    largest = np.full(shape, -np.inf)
    np.maximum.at(largest.reshape(-1), cells.reshape(-1), weights.reshape(-1))
    shares = np.exp(weights - largest.reshape(-1)[cells])
    sums = np.bincount(cells.reshape(-1), shares.reshape(-1), largest.size).reshape(shape)
    with np.errstate(divide="ignore"):
        votes = largest + np.log(sums)
    own = np.take_along_axis(votes, wanted, 1)
    before = (votes > own) | ((votes == own) & (np.arange(len(classes)) < wanted))
    return np.where(np.isneginf(own[:, 0]), np.inf, before.sum(1))
