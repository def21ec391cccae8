"""Time of the path of 45 l2 penalties of a linear transfer, beside scikit-learn's LogisticRegression.

    python benchmarks/evaluation_transfer.py                                     # as large as Oxford Flowers
    python benchmarks/evaluation_transfer.py --images 500 --width 256 --classes 10

The contenders take turns, a path each, on the same float32 features and cores: ours; scikit-learn's from cold, each
penalty from zero; scikit-learn's with warm_start. Medians over --rounds. scikit-learn stops by --tol (by default its
own, 1e-4; with 1e-6 it comes nearer to the minimum), or after 10,000 steps. Speed is worth nothing if the minimum is
missed, so two more columns say how near each came: the largest excess of the loss an image, along the path, over the
lowest that any contender reached; and the best top-1 of other images.

The features are made: positive, of decaying spectrum, and correlated, as a network's pooled features are.
"""

import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

from mindbyol.evaluation.logistic import LogisticPath  # noqa: E402
from mindbyol.evaluation.metrics import top1  # noqa: E402

PENALTIES = np.geomspace(1e5, 1e-6, 45)


def made_features(images, width, classes, seed=0):
    """Features and labels of `images` images: float32 (N, F) and int (N,)."""
    rng = np.random.default_rng(0)  # the same classes in every call
    spectrum = (1 + np.arange(width)) ** -0.5
    mixed = rng.standard_normal((width, width)) / np.sqrt(width) * spectrum[:, None]
    centres = 0.5 * rng.standard_normal((classes, width))
    rng = np.random.default_rng(seed + 1)
    labels = rng.permutation(np.arange(images) % classes)
    features = (centres[labels] + 1.5 * rng.standard_normal((images, width))) @ mixed
    return np.maximum(3 * features + 0.1, 0).astype(np.float32), labels


def our_path(features, labels, classes):
    """Yields weights (F, K) and intercept (K,) of each penalty."""
    path = LogisticPath(features, labels, classes)
    for l2 in PENALTIES:
        path.fit(l2)
        yield path.coef_, path.intercept_


def their_path(features, labels, warm_start, tol):
    """The same by scikit-learn."""
    regression = LogisticRegression(max_iter=10_000, warm_start=warm_start, tol=tol)
    for l2 in PENALTIES:
        regression.set_params(C=1 / l2).fit(features, labels)
        yield regression.coef_.T.copy(), regression.intercept_.copy()


def loss_an_image(features, labels, coef, intercept, l2):
    """The objective in float64, divided by the number of images."""
    scores = features.astype(np.float64) @ coef + intercept
    loss = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(labels)), labels]
    return (loss.sum() + l2 / 2 * np.square(coef, dtype=np.float64).sum()) / len(labels)


def compare(images, width, classes, rounds, tol):
    """The contenders on one set of features.

    Returns:
        dict[str, tuple]: By contender: seconds of each round, excess of the loss an image, best top-1.
    """
    features, labels = made_features(images, width, classes)
    others, wanted = made_features(max(images // 4, classes), width, classes, seed=1)
    contenders = {
        "mindbyol": lambda: our_path(features, labels, classes),
        "scikit-learn, cold": lambda: their_path(features, labels, False, tol),
        "scikit-learn, warm": lambda: their_path(features, labels, True, tol),
    }
    seconds, losses, best = {name: [] for name in contenders}, {}, {}
    for _ in range(rounds):
        for name, path in contenders.items():
            started = time.perf_counter()
            found = list(path())
            seconds[name].append(time.perf_counter() - started)
            if name not in losses:
                losses[name] = [loss_an_image(features, labels, *one, l2) for one, l2 in zip(found, PENALTIES)]
                best[name] = max(top1(others @ coef + intercept, wanted) for coef, intercept in found)
    lowest = np.min(list(losses.values()), axis=0)
    return {name: (seconds[name], float(np.max(losses[name] - lowest)), best[name]) for name in contenders}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=1020)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=102)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tol", type=float, default=1e-4)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    found = compare(args.images, args.width, args.classes, args.rounds, args.tol)
    ours = statistics.median(found["mindbyol"][0])
    size = f"{args.images} images, {args.width} features, {args.classes} classes"
    print(f"{len(PENALTIES)} penalties, {size}, tol {args.tol:g}")
    print("| | seconds (range) | times ours | excess of the loss an image | best top-1 |")
    print("|---|---|---|---|---|")
    for name, (seconds, excess, best) in found.items():
        median = statistics.median(seconds)
        times = f"{median:.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
        print(f"| {name} | {times} | {median / ours:.2f} | {excess:.1e} | {best:.2f} |")


if __name__ == "__main__":
    main()
