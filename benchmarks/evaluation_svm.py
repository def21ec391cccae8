"""Time of the VOC07 SVM protocol for one layer, beside the plain loop of scikit-learn on the same cores.

    python benchmarks/evaluation_svm.py                                # a quarter of VOC07, 4 classes
    python benchmarks/evaluation_svm.py --images 5011 --test 4952 --width 8192 --classes 2 --rounds 1

The contenders take turns, all classes and costs each, on the same features: ours; the plain loop (cross_val_score and
a fit for each class and cost, then the test images), in one process, as scikit-learn has it; and the same loop spread
over as many processes as ours, as mmselfsup's script does it. Medians over --rounds. The last columns say how far the
average precision of a class, in percent, is from the plain loop's, and for how many classes another cost was chosen.

The features are made: positive, correlated and noisy, as a network's are; a class is 7 % of the images.
"""

import argparse
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import joblib  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.model_selection import cross_val_score  # noqa: E402
from sklearn.svm import LinearSVC  # noqa: E402

from mindbyol.evaluation.linear_svm import COSTS, in_few_numbers, unit  # noqa: E402
from mindbyol.evaluation.metrics import average_precision_area  # noqa: E402
from mindbyol.evaluation.stage_svms import Layer  # noqa: E402
from mindbyol.evaluation.svm import score_classes  # noqa: E402

CORES = len(os.sched_getaffinity(0))
LATENT, SHARE = 256, 0.07


def made_layer(arguments):
    """Features of about unit length and labels of some training and test images."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((arguments.images + arguments.test, LATENT)).astype(np.float32)
    mixed = rng.standard_normal((LATENT, arguments.width), np.float32)
    features = np.maximum(latent @ mixed + 8 * rng.standard_normal((len(latent), arguments.width), np.float32), 0)
    wanted = latent @ rng.standard_normal((LATENT, arguments.classes)) + 4 * rng.standard_normal(
        (len(latent), arguments.classes)
    )
    labels = (wanted > np.quantile(wanted, 1 - SHARE, axis=0)).astype(np.int8)
    train = slice(arguments.images)
    test = slice(arguments.images, None)
    return Layer(unit(features[train]), labels[train], unit(features[test]), labels[test])


def ours(layer, workers):
    train, test = in_few_numbers(layer.train, layer.test)
    layer = layer._replace(train=train, test=test)
    found = score_classes(layer, list(range(layer.train_labels.shape[1])), COSTS, 0, workers)
    return np.array([numbers for _, numbers, _ in found])


def plain_task(layer, c, cost):
    """The average precision of images left out, and that of the test images."""
    svm = LinearSVC(C=cost, class_weight={1: 2, -1: 1}, dual=True, tol=1e-4, max_iter=2000, random_state=0)
    signs = np.where(layer.train_labels[:, c] == 1, 1, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        validated = cross_val_score(svm, layer.train, signs, cv=3, scoring="average_precision").mean()
        scores = svm.fit(layer.train, signs).decision_function(layer.test)
    return validated, average_precision_area(scores, layer.test_labels[:, c])


def plain(layer, workers):
    """The loop: a fit to all images for each cost, as the published script has it."""
    classes = layer.train_labels.shape[1]
    tasks = [joblib.delayed(plain_task)(layer, c, cost) for c in range(classes) for cost in COSTS]
    found = np.array(joblib.Parallel(n_jobs=workers)(tasks)).reshape(classes, len(COSTS), 2)
    chosen = found[..., 0].argmax(1)
    return np.column_stack([found[np.arange(classes), chosen, 1], np.take(COSTS, chosen)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 1253), ("test", 1238), ("width", 2048), ("classes", 4), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    layer = made_layer(arguments)
    contenders = {
        f"mindbyol, {CORES} processes": lambda: ours(layer, CORES),
        f"plain loop, {CORES} processes": lambda: plain(layer, CORES),
        "plain loop, 1 process": lambda: plain(layer, 1),
    }
    seconds, found = {name: [] for name in contenders}, {}
    for _ in range(arguments.rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            found[name] = run()
            seconds[name].append(time.perf_counter() - started)
    first = statistics.median(seconds[next(iter(contenders))])
    reference = found["plain loop, 1 process"]
    print(f"{arguments.images} x {arguments.width}, {arguments.classes} classes, {len(COSTS)} costs, {CORES} cores")
    print("| | seconds (range) | of ours | largest difference of an AP | other costs |")
    print("|---|---|---|---|---|")
    for name, times in seconds.items():
        median = statistics.median(times)
        apart = np.abs(found[name] - reference)
        print(
            f"| {name} | {median:.1f} ({min(times):.1f}-{max(times):.1f}) | {median / first:.2f} | "
            f"{apart[:, 0].max():.4f} | {np.count_nonzero(apart[:, 1])} |"
        )


if __name__ == "__main__":
    main()
