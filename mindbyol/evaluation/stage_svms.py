"""What the SVM protocols share: their keys, the features of one layer after the other, and the classes of each rank."""

import logging
import time
from typing import NamedTuple

import numpy as np
import sklearn

import mindbyol
from mindbyol.config.common import BACKBONE, DATASET, EVALUATION, IMAGES, SYSTEM, check_images
from mindbyol.config.keys import Group, Key
from mindbyol.config.values import IMAGE_SIZE, POSITIVE
from mindbyol.data.sources import fingerprint
from mindbyol.data.warp import WarpTransform
from mindbyol.evaluation.kept import Kept
from mindbyol.evaluation.linear_svm import COSTS, MAX_ITER, in_few_numbers, unit
from mindbyol.evaluation.stage_pooling import WINDOWS, StageReadOut, layers_of

logger = logging.getLogger(__name__)

_REPORT_EVERY = 30.0  # seconds

KEYS = (
    SYSTEM,
    DATASET,
    IMAGES.with_defaults(interpolation="bilinear"),
    BACKBONE,
    EVALUATION.without("crop_pct"),
    Group(
        "SVM parameters",
        (
            Key("layers", None, str, "what is scored; by default all", choices=tuple(WINDOWS), nargs="+"),
            Key("short_side", 256, IMAGE_SIZE, "shorter side of an image before it is warped to a square"),
            Key("svm_costs", COSTS, POSITIVE, "values of C that are tried", nargs="+"),
        ),
        "num_parallel_workers processes fit; features_dir keeps each class that is done.",
    ),
)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    check_images(recipe)
    if len(set(recipe.svm_costs)) < len(recipe.svm_costs):
        raise ValueError(
            f"svm_costs: {' '.join(f'{cost:g}' for cost in recipe.svm_costs)} has a number twice; drop one"
        )
    if recipe.train_split == recipe.val_split:
        raise ValueError(f"val_split: {recipe.val_split} is train_split, too; score other images than are learned from")


def splits(recipe):
    """What the SVMs are fitted to, and what is scored."""
    return {"train": recipe.train_split, "test": recipe.val_split}


def check_subject(recipe, subject):
    """Has the backbone the layers that are asked for? If not, a ValueError names those that it has."""
    read_out_of(recipe, subject)


def read_out_of(recipe, subject):
    """The layers to score (StageReadOut); None of raw pixels.

    Raises:
        ValueError: The backbone has not got a layer that is asked for.
    """
    return None if subject.backbone is None else StageReadOut(layers_of(subject.backbone, recipe.layers))


def check_classes(sources, positives, negatives, advice):
    """Have the data what every SVM needs?

    Args:
        sources (dict[str, Source]): See `splits`.
        positives (int): Images of each class to learn from.
        negatives (Callable[[int], int]): Other images that count to learn from, given the number of classes.
        advice (str): What to do if there are fewer.

    Raises:
        ValueError: There are no labels, fewer than two classes, other ones in the test images, or too few images.
    """
    train, test = sources["train"], sources["test"]
    for source in (train, test):
        if source.labels is None:
            raise ValueError(f"dataset: {source.description}: no labels to score with")
    if train.class_names != test.class_names:
        raise ValueError(f"dataset: the classes of {train.description} and of {test.description} are not the same")
    names = train.class_names
    if len(names) < 2:
        raise ValueError(f"dataset: {train.description}: an SVM tells a class from others, and there are none")
    for source, numbers in ((train, (positives, negatives(len(names)))), (test, (1, 1))):
        columns = class_columns(source.labels, len(names))
        for value, number, what in zip((1, 0), numbers, ("with it", "without it")):
            count = (columns == value).sum(0)
            few = [f"{names[c]} ({count[c]})" for c in np.flatnonzero(count < number)]
            if few:
                more = f" and {len(few) - 10} more" if len(few) > 10 else ""
                raise ValueError(
                    f"dataset: {len(few)} of {len(names)} classes have fewer than {number} images {what} in "
                    f"{source.description}: {', '.join(few[:10])}{more}; {advice}"
                )


def class_columns(labels, classes):
    """Labels as VOC has them: a column a class.

    Args:
        labels (ndarray): (N,), one class each; or (N, classes) already.
        classes (int): How many there are.

    Returns:
        ndarray: (N, classes) int8: 1 it is there, 0 it is not, -1 it does not count.
    """
    return labels if labels.ndim == 2 else (labels[:, None] == np.arange(classes)).astype(np.int8)


class Layer(NamedTuple):
    """What SVMs of one layer are fitted to and tested on.

    Attributes:
        train, test (ndarray): Features (N, D) and (M, D) float64, of about unit length.
        train_labels, test_labels (ndarray): See `class_columns`.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def score_layers(recipe, subject, sources, tools, score, count):
    """Scores one layer after the other; of one at a time the features are in memory in float64.

    Each rank scores its share of the classes. What `features_dir` keeps of an earlier command is not computed again.

    Args:
        recipe (Recipe): Of a task whose keys are `KEYS` and others.
        subject (Scored): Whose layers.
        sources (dict[str, Source]): See `splits`.
        tools (Tools): See there.
        score (Callable[[Layer, list[int]], iterable[tuple[int, ndarray, int]]]): Yields each of some classes, its
            numbers, and how many of its SVMs stopped early.
        count (int): Numbers a class.

    Yields:
        tuple[str, ndarray]: The layer, and the numbers of all classes (classes, count) float64.
    """
    read_out = read_out_of(recipe, subject)
    names = sources["train"].class_names
    kept = Kept(recipe.features_dir, f"{recipe.task}-{subject.name}", _facts(recipe, subject, sources))
    mine = list(range(len(names))[tools.share(len(names))])
    for layer in read_out.layers if read_out else ("pixels",):
        numbers = np.zeros((len(names), count))
        done = {c: kept.read(_file(layer, c), count) for c in mine}
        todo = [c for c in mine if done[c] is None]
        if len(todo) < len(mine):
            logger.info(f"{layer}: {len(mine) - len(todo)} of {len(mine)} classes from {kept.folder}")
        if tools.total([len(todo)])[0]:
            features = _load(recipe, subject, sources, tools, read_out, layer)
            early, reported = 0, time.monotonic()
            for number, (c, found, stopped) in enumerate(score(features, todo), 1):
                kept.write(_file(layer, c), found)
                done[c] = found
                early += stopped
                if time.monotonic() - reported > _REPORT_EVERY:
                    logger.info(f"{layer}: {number} of {len(todo)} classes are done, the last one is {names[c]}")
                    reported = time.monotonic()
            if early:
                logger.info(f"{layer}: {early} SVMs stopped at {MAX_ITER} iterations, as the protocol has it")
            del features
        for c in mine:
            numbers[c] = done[c]
        yield layer, tools.total(numbers.ravel()).reshape(numbers.shape)


def _file(layer, c):
    return f"{layer}-class{c:04d}"


def _facts(recipe, subject, sources):
    settings = recipe.that_change_results()
    settings.pop("layers")
    return {
        "settings": settings,
        "subject": subject.name,
        "weights": subject.digest,
        "mean": list(map(float, subject.mean)),
        "std": list(map(float, subject.std)),
        "data": {role: {"images": len(source), **fingerprint(source)} for role, source in sources.items()},
        "scikit-learn": sklearn.__version__,
        "mindbyol": mindbyol.__version__,
    }


def _load(recipe, subject, sources, tools, read_out, layer):
    transform = WarpTransform(recipe.image_resize, recipe.short_side, recipe.interpolation)
    columns = read_out.columns(subject.backbone, layer) if read_out else slice(None)
    classes = len(sources["train"].class_names)
    features, labels = {}, {}
    for role, source in sources.items():
        rows, of = tools.features(subject, source, transform, read_out)
        features[role], labels[role] = unit(rows[:, columns]), class_columns(of, classes)
    train, test = in_few_numbers(features.pop("train"), features.pop("test"))
    return Layer(train, labels["train"], test, labels["test"])
