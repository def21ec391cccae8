"""Weighted k-nearest-neighbour classification on frozen features (Wu et al. 2018), as mmselfsup and DINO score it."""

import numpy as np


class WeightedKNN:
    """Cosine similarity; the k nearest vote for their class with weight exp(similarity / temperature).

    The bank stays on the host and queries go through in blocks, so that memory is bounded by `block` rows of
    similarities whatever the number of queries.

    Args:
        ks (sequence[int]): Numbers of neighbours to score at once.
        temperature (float): Of the weights; 0.07 in mmselfsup.
        block (int): Queries at a time.
    """

    def __init__(self, ks=(10, 20, 100, 200), temperature=0.07, block=256):
        self.ks = tuple(ks)
        self.temperature = temperature
        self.block = block

    def fit(self, features, labels):
        """Takes the bank.

        Args:
            features (ndarray): (N, D), float.
            labels (ndarray): (N,), whole numbers from 0.

        Raises:
            ValueError: More neighbours are asked for than there are.
        """
        if max(self.ks) > len(features):
            raise ValueError(f"knn_k: {max(self.ks)} neighbours asked for, but the bank has {len(features)} images")
        self.bank_ = _unit(features)
        self.labels_ = np.asarray(labels)
        self.num_classes_ = int(self.labels_.max()) + 1
        return self

    def score(self, features, labels, top=(1, 5)):
        """Share of queries whose class is among the `top` classes with most votes; classes without a vote never are.

        Args:
            features (ndarray): (M, D), float.
            labels (ndarray): (M,).
            top (sequence[int]): Ranks to count.

        Returns:
            dict[str, float]: `knn{k}_top{t}` for each k and t, in percent.
        """
        labels = np.asarray(labels)
        correct = {(k, t): 0 for k in self.ks for t in top}
        for start in range(0, len(features), self.block):
            queries, wanted = features[start : start + self.block], labels[start : start + self.block]
            for k, votes in self._votes(queries):
                ranking = np.argsort(-votes, axis=1, kind="stable")[:, : max(top)]
                hits = (ranking == wanted[:, None]) & (np.take_along_axis(votes, ranking, 1) > -np.inf)
                for t in top:
                    correct[k, t] += int(hits[:, :t].any(1).sum())
        return {f"knn{k}_top{t}": 100.0 * count / len(labels) for (k, t), count in correct.items()}

    def _votes(self, queries):
        similarity = _unit(queries) @ self.bank_.T
        k_max = max(self.ks)
        nearest = np.argpartition(-similarity, k_max - 1, axis=1)[:, :k_max]
        order = np.argsort(-np.take_along_axis(similarity, nearest, 1), axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, order, 1)
        # Logarithms of weights and votes: at a low temperature exp() itself would overflow, and then vanish.
        weights = np.take_along_axis(similarity, nearest, 1).astype(np.float64) / self.temperature
        rows = np.arange(len(queries))[:, None]
        for k in self.ks:
            votes = np.full((len(queries), self.num_classes_), -np.inf)
            np.logaddexp.at(votes, (rows, self.labels_[nearest[:, :k]]), weights[:, :k])
            yield k, votes


def _unit(features):
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
