"""Linear SVMs over frozen features, one class against the rest, as mmselfsup's VOC07 benchmark fits scikit-learn's.

Arrays in, numbers out: the processes that fit need no MindSpore.
"""

import contextlib
import warnings
from concurrent.futures.process import BrokenProcessPool

import joblib
import numpy as np
from scipy.linalg import qr_multiply
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from mindbyol.evaluation.metrics import average_precision_area

# In the order of the published scripts, which decides between costs that are equally good.
COSTS = (1.0, 10.0, 100.0, *(0.5**power for power in range(4, 20)))
FOLDS = 3
MAX_ITER = 2000
_ROOM = 1e-5  # beside the length of a vector, against a division by 0


def unit(features):
    """Each row over its length, in float64.

    Args:
        features (ndarray): (N, D).

    Returns:
        ndarray: (N, D) float64.
    """
    features = features.astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True) + _ROOM
    return features


def in_few_numbers(train, test):
    """The same features in fewer numbers, for SVMs that are fitted to rows of `train`: less work, the same SVMs.

    All that a linear SVM sees of its training features are their inner products, so they may be rotated. One rotation
    lays the first row along the first axis, the second into the plane of the first two, and so on. Where there are more
    numbers than images, N numbers a row are left, half of them zeros, which LIBLINEAR skips. What the test features
    have beyond that no such SVM sees.

    Args:
        train (ndarray): (N, D) float64.
        test (ndarray): (M, D) float64.

    Returns:
        tuple[ndarray, ndarray]: (N, min(N, D)) and (M, min(N, D)), with the inner products of before.
    """
    if len(train) >= train.shape[1]:
        return train, test
    test, upper = qr_multiply(train.T, test)
    return np.ascontiguousarray(upper.T), test


def linear_svc(cost, seed):
    """The SVM of the protocol; positives weigh twice as much as negatives.

    The published scripts leave `random_state` to chance. It decides in which order LIBLINEAR visits the images.
    """
    return LinearSVC(
        C=cost,
        penalty="l2",
        loss="squared_hinge",
        dual=True,
        class_weight={1: 2, -1: 1},
        intercept_scaling=1.0,
        tol=1e-4,
        max_iter=MAX_ITER,
        random_state=seed,
    )


def cross_validate(features, labels, cost, seed):
    """scikit-learn's average precision of images left out, the mean over three folds.

    Args:
        features (ndarray): (N, D) float64.
        labels (ndarray): (N,): 1 is a positive, all else a negative.
        cost (float): C of the SVM.
        seed (int): See `linear_svc`.

    Returns:
        tuple[float, int]: The average precision, up to 1, and how many SVMs stopped early.
    """
    with _early_stops() as stops:
        signs = np.where(labels == 1, 1, -1)
        scores = cross_val_score(linear_svc(cost, seed), features, signs, cv=FOLDS, scoring="average_precision")
    return float(scores.mean()), len(stops)


def score(features, rows, labels, costs, seed, test, test_labels):
    """Fits an SVM of each cost and scores other images.

    Args:
        features (ndarray): (N, D) float64.
        rows (ndarray or slice): Which of them are fitted to.
        labels (ndarray): (N,): 1 is a positive, all else a negative.
        costs (sequence[float]): One SVM each.
        seed (int): See `linear_svc`.
        test (ndarray): (M, D) float64.
        test_labels (ndarray): (M,): 1 positive, 0 negative, -1 left out.

    Returns:
        tuple[ndarray, int]: The area under the curve of precision over recall for each cost, in percent; see
        `metrics.average_precision_area`. And how many SVMs stopped early.
    """
    features, signs = features[rows], np.where(labels[rows] == 1, 1, -1)
    with _early_stops() as stops:
        svms = [linear_svc(cost, seed).fit(features, signs) for cost in costs]
    scores = test @ np.concatenate([svm.coef_ for svm in svms]).T + np.concatenate([svm.intercept_ for svm in svms])
    return np.array([average_precision_area(of_cost, test_labels) for of_cost in scores.T]), len(stops)


def spread(function, tasks, workers):
    """Calls a function once for each task, in several processes.

    Processes, as LIBLINEAR has one generator of random numbers, which threads would share. Large arrays are mapped, not
    copied.

    Args:
        function (Callable): Of a module that the processes can import.
        tasks (iterable[tuple]): Arguments of each call.
        workers (int): Processes; 1 computes in this one.

    Yields:
        object: The results, in the order of the tasks.

    Raises:
        OSError: A process was killed.
    """
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
    try:
        yield from parallel(joblib.delayed(function)(*task) for task in tasks)
    except BrokenProcessPool as error:
        raise OSError(
            f"num_parallel_workers: one of {workers} processes that fit SVMs was killed, most often for want of "
            "memory; lower it. Classes that are done stay done where features_dir is set"
        ) from error


@contextlib.contextmanager
def _early_stops():
    """Collects scikit-learn's warnings that LIBLINEAR stopped at `MAX_ITER`, instead of printing hundreds."""
    with warnings.catch_warnings(record=True) as stops:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ConvergenceWarning)
        yield stops
