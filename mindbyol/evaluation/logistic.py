"""Logistic regression of frozen features along a path of l2 penalties, by L-BFGS."""

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize

_MOST_ITERATIONS = 1000  # of one penalty; some ten are needed


class LogisticPath:
    r"""The minimum of sum_i loss(x_i W + b, y_i) + l2 / 2 |W|^2 for one penalty l2 after the other.

    The loss is the cross-entropy of the softmax where an image has one class, and the sum of one sigmoid cross-entropy
    a class where it may have several. It is summed over the images, not averaged, and the intercept b bears no penalty:
    scikit-learn's LogisticRegression minimises the same with C = 1 / l2.

    L-BFGS needs many steps where features differ in scale and go together, as those of a network do. So it works on
    the principal components, each divided by the root of its curvature: about one everywhere. Rotation and scale are
    undone, and the penalty is that of W, so the minimum is the same one.

    Args:
        features (ndarray): (N, F), float32 or float64, which is computed in.
        labels (ndarray): (N,) int, the class from 0; or (N, K): 1 it is there, 0 it is not, -1 it does not count.
        num_classes (int): K.

    Attributes:
        coef_ (ndarray): W, (F, K); zeros before the first fit.
        intercept_ (ndarray): b, (K,).
        n_iter_ (int): Steps of the last fit.
        converged_ (bool): Whether the last fit ended before the limit of its steps.
    """

    def __init__(self, features, labels, num_classes):
        features = np.asarray(features)
        dtype = features.dtype
        self._loss = softmax_loss if labels.ndim == 1 else sigmoid_loss
        self._labels = labels
        self._mean = features.mean(0, dtype=np.float64)
        centred = features - self._mean.astype(dtype)
        moments, rotation = eigh((centred.T @ centred).astype(np.float64))
        rank = min(features.shape)  # beyond it there are no components
        self._rotation = rotation[:, -rank:]
        # The intercept is the weight of one more feature, which is always 1.
        self._inputs = np.empty((len(features), rank + 1), dtype)
        np.matmul(centred, self._rotation.astype(dtype), out=self._inputs[:, :-1])
        self._inputs[:, -1] = 1
        self._moments = np.append(np.maximum(moments[-rank:], 0), len(features))
        self._weights = np.zeros((rank + 1, num_classes))
        self._learn_curvature()

    @property
    def coef_(self):
        return self._rotation @ self._weights[:-1]

    @property
    def intercept_(self):
        return self._weights[-1] - self._mean @ self.coef_

    def fit(self, l2, tolerance=1e-4):
        """Goes from the minimum of the last penalty to that of this one; fast if they are near.

        Args:
            l2 (float): Above 0.
            tolerance (float): No entry of the gradient, in the scaled coordinates, is to be larger than this times the
                root of the number of images.

        Returns:
            LogisticPath: Itself.
        """
        penalty = np.full((len(self._weights), 1), l2)
        penalty[-1] = 0
        scale = 1 / np.sqrt(self._curvature * self._moments[:, None] + penalty)

        def objective(scaled):
            weights = scaled.reshape(self._weights.shape) * scale
            loss, residuals = self._loss(self._inputs @ weights.astype(self._inputs.dtype), self._labels)
            gradient = self._inputs.T @ residuals + penalty * weights
            return loss + 0.5 * float((penalty * weights**2).sum()), (gradient * scale).ravel()

        found = minimize(
            objective,
            (self._weights / scale).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": _MOST_ITERATIONS,
                "gtol": tolerance * np.sqrt(len(self._inputs)),
                "ftol": 0.1 * tolerance**2,  # a step that gains less, as a share of the loss, is the last one
            },
        )
        self._weights = found.x.reshape(self._weights.shape) * scale
        self.n_iter_ = int(found.nit)
        self.converged_ = found.nit < _MOST_ITERATIONS
        self._learn_curvature()
        return self

    def scores(self, features):
        """x W + b: (M, F) to (M, K), in the type of the features; the class with the largest is the likeliest."""
        return features @ self.coef_.astype(features.dtype) + self.intercept_.astype(features.dtype)

    def _learn_curvature(self):
        """The mean of p (1 - p), the loss's second derivative by a score: the size of a residual is p or 1 - p."""
        scores = self._inputs @ self._weights.astype(self._inputs.dtype)
        size = np.abs(self._loss(scores, self._labels)[1])
        self._curvature = max(float((size * (1 - size)).mean(dtype=np.float64)), 1e-8)


def softmax_loss(scores, labels):
    """Cross-entropy of the softmax, summed over the images.

    Args:
        scores (ndarray): (N, K), float; its memory is used for the second result.
        labels (ndarray): (N,), the class of each image.

    Returns:
        tuple[float, ndarray]: The loss, and its gradient by the scores: (N, K), probability less one at the class.
    """
    rows = np.arange(len(labels))
    scores -= scores.max(1, keepdims=True)
    of_class = scores[rows, labels].sum(dtype=np.float64)
    np.exp(scores, out=scores)
    total = scores.sum(1, keepdims=True)
    scores /= total
    scores[rows, labels] -= 1
    return float(np.log(total).sum(dtype=np.float64) - of_class), scores


def sigmoid_loss(scores, labels):
    """Cross-entropy of one sigmoid a class, summed over images and classes.

    Args:
        scores (ndarray): (N, K), float.
        labels (ndarray): (N, K): 1, 0, or -1, which does not count.

    Returns:
        tuple[float, ndarray]: The loss, and its gradient by the scores: (N, K), probability less label.
    """
    counts, there = labels >= 0, labels > 0
    # log(1 + exp(s)) - s if it is there, without overflow
    loss = np.logaddexp(0, np.where(there, -scores, scores)) * counts
    probability = 0.5 * (1 + np.tanh(0.5 * scores))
    return float(loss.sum(dtype=np.float64)), (probability - there) * counts
