"""Logistic regression against scikit-learn at its minimum, and against finite differences."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from mindbyol.evaluation.logistic import LogisticPath, sigmoid_loss, softmax_loss

PENALTIES = (100.0, 1.0, 0.01)


@pytest.fixture(scope="module")
def digits():
    """Features of many scales that go together, and are nowhere near zero."""
    pixels, labels = load_digits(return_X_y=True)
    mixed = pixels[:200] / 16 @ np.random.default_rng(0).standard_normal((64, 20)) + 5
    return mixed * np.logspace(-1, 0, 20), labels[:200].astype(np.int32)


@pytest.fixture(scope="module")
def minima(digits):
    """scikit-learn's, in the order of the penalties."""
    return [minimum(*digits, l2) for l2 in PENALTIES]


def minimum(features, labels, l2):
    return LogisticRegression(C=1 / l2, tol=1e-10, max_iter=100_000).fit(features, labels)


def loss(features, labels, coef, intercept, l2):
    """In float64, by another way than the code: the objective of one class an image."""
    scores = features.astype(np.float64) @ coef + intercept
    log_total = np.logaddexp.reduce(scores, axis=1)
    return (log_total - scores[np.arange(len(labels)), labels]).sum() + l2 / 2 * (coef**2).sum()


def test_reaches_scikit_learns_minimum_along_the_path(digits, minima):
    features, labels = digits
    path = LogisticPath(features, labels, 10)
    for l2, theirs in zip(PENALTIES, minima):
        path.fit(l2, tolerance=1e-8)
        scores, expected = path.scores(features), theirs.decision_function(features)
        centred = scores - scores.mean(1, keepdims=True)  # the softmax does not see a common term
        np.testing.assert_allclose(centred, expected - expected.mean(1, keepdims=True), atol=1e-3 * expected.std())
        reached = loss(features, labels, path.coef_, path.intercept_, l2)
        assert reached <= loss(features, labels, theirs.coef_.T, theirs.intercept_, l2) * (1 + 1e-6)
        assert path.converged_


def test_float32_and_the_usual_tolerance_come_near(digits, minima):
    features, labels = digits
    path = LogisticPath(features.astype(np.float32), labels, 10)
    for l2, theirs in zip(PENALTIES, minima):
        path.fit(l2)
        reached = loss(features, labels, path.coef_, path.intercept_, l2)
        lowest = loss(features, labels, theirs.coef_.T, theirs.intercept_, l2)
        assert reached - lowest < 1e-5 * len(labels)
        assert path.scores(features.astype(np.float32)).dtype == np.float32


def test_fewer_images_than_features(digits):
    features, labels = digits
    wide = np.hstack([features, np.sin(features)])[:30]
    theirs = minimum(wide, labels[:30], 1.0)
    path = LogisticPath(wide, labels[:30], 10).fit(1.0, tolerance=1e-8)
    reached = loss(wide, labels[:30], path.coef_, path.intercept_, 1.0)
    assert path.coef_.shape == (40, 10)
    assert reached == pytest.approx(loss(wide, labels[:30], theirs.coef_.T, theirs.intercept_, 1.0), rel=1e-6)


def test_several_classes_an_image_are_one_regression_each_without_what_does_not_count(digits):
    features, digit = digits
    labels = np.stack([digit % 2, digit > 6, digit < 3], 1).astype(np.int8)
    labels[::7, 1] = -1
    labels[::5, 2] = -1
    path = LogisticPath(features, labels, 3).fit(3.0, tolerance=1e-8)
    scores = path.scores(features)
    for k in range(3):
        counts = labels[:, k] >= 0
        theirs = minimum(features[counts], labels[counts, k], 3.0)
        expected = theirs.decision_function(features)
        np.testing.assert_allclose(scores[:, k], expected, atol=1e-3 * expected.std())


def test_a_warm_start_is_faster(digits):
    features, labels = digits
    cold = LogisticPath(features, labels, 10).fit(1.0).n_iter_
    warm = LogisticPath(features, labels, 10).fit(1.5).fit(1.0).n_iter_
    assert warm < cold


@pytest.mark.parametrize("loss_of, several", [(softmax_loss, False), (sigmoid_loss, True)])
def test_gradients_are_finite_differences(loss_of, several):
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((5, 3))
    labels = rng.integers(-1, 2, (5, 3)) if several else rng.integers(0, 3, 5)
    gradient = loss_of(scores.copy(), labels)[1]
    for index in np.ndindex(scores.shape):
        step = np.zeros_like(scores)
        step[index] = 1e-6
        difference = (loss_of(scores + step, labels)[0] - loss_of(scores - step, labels)[0]) / 2e-6
        assert gradient[index] == pytest.approx(difference, abs=1e-8)


def test_losses_by_hand():
    value, _ = softmax_loss(np.log([[1.0, 3.0], [1.0, 1.0]]), np.array([1, 0]))
    assert value == pytest.approx(np.log(4 / 3) + np.log(2))
    value, _ = sigmoid_loss(np.log([[3.0, 5.0, 1.0]]), np.array([[1, -1, 0]]))
    assert value == pytest.approx(np.log(4 / 3) + np.log(2))
    huge = np.array([[1000.0, -1000.0]])
    assert softmax_loss(huge.copy(), np.array([1]))[0] == 2000 and sigmoid_loss(huge, np.array([[0, 1]]))[0] == 2000
