"""Scores the classifiers of a checkpoint that train.py wrote: the part of a task that validate.py runs."""

import logging
from typing import NamedTuple, Optional

import numpy as np

from mindbyol import checkpoint
from mindbyol.byol import Normalize
from mindbyol.classifier import Logits
from mindbyol.evaluation.classification import best_of, evaluating, summary
from mindbyol.weights.files import open_weights, read_float32

logger = logging.getLogger(__name__)

PREFIX = "heads."


class Heads(NamedTuple):
    """The classifiers of a checkpoint.

    Attributes:
        arrays (dict[str, ndarray]): Their parameters; names begin with `heads.`.
        names (tuple[str]): What they are called.
        chosen (int): Place of the one that was best on the images that training scored; None if it scored none.
        num_classes (int): Classes that they tell apart.
    """

    arrays: dict
    names: tuple
    chosen: Optional[int]
    num_classes: int


def read_heads(recipe):
    """The classifiers of the recipe's checkpoint; errors are those of `read_arrays`."""
    arrays, card = read_arrays(recipe)
    num_classes = next(len(array) for name, array in arrays.items() if name.endswith(".bias"))
    return Heads(arrays, tuple(card.more["heads"]), card.more.get("chosen"), num_classes)


def read_arrays(recipe):
    """What the recipe's checkpoint has beside its backbone.

    Args:
        recipe (Recipe): Of a task whose checkpoints have classifiers, of images or of their parts.

    Returns:
        tuple[dict[str, ndarray], Card]: Parameters whose names begin with `heads.`, and the card.

    Raises:
        FileNotFoundError, ValueError: The file cannot be read, has none, is one of another task, or holds values that
            are not finite.
    """
    path = recipe.ckpt_path
    if not path:
        raise ValueError("ckpt_path: which classifier is to be scored? Name a checkpoint that train.py wrote")
    contents = open_weights(path)
    card = contents.card
    tensors = {name: tensor for name, tensor in contents.tensors.items() if name.startswith(PREFIX)}
    if not tensors or "heads" not in card.more:
        how = f"--config {recipe.config}" if recipe.config else f"--task {recipe.task}"
        raise ValueError(
            f"ckpt_path: {path} has no classifier of task {recipe.task}: train one on it with `python train.py {how} "
            f"--ckpt_path {path}`, then score the checkpoint that this writes"
        )
    if card.kind != recipe.task:
        raise ValueError(f"ckpt_path: {path} has classifiers of task {card.kind}; --task {card.kind} scores them")
    arrays = {name: read_float32(tensor, name) for name, tensor in tensors.items()}
    checkpoint.check_finite(arrays, path)
    return arrays, card


def check_range(source):
    """Makes sure that a source has one label an image, and that each is one of its classes.

    Raises:
        ValueError: It does not; the message names the first image.
    """
    if source.labels is None or np.ndim(source.labels) != 1:
        raise ValueError(f"dataset: {source.description}: one label an image is needed, and there is none")
    classes = len(source.class_names)
    wrong = np.flatnonzero((source.labels < 0) | (source.labels >= classes))
    if len(wrong):
        raise ValueError(
            f"dataset: {source.description}: the label {source.labels[wrong[0]]} of {source.name(int(wrong[0]))} is "
            f"none of 0 to {classes - 1} ({len(wrong)} images have such)"
        )


def splits(recipe):
    """What is scored."""
    return {"val": recipe.val_split}


def check_data(recipe, sources):
    """Everything that can be wrong between checkpoint and data, before the backbone is opened.

    Raises:
        FileNotFoundError, ValueError: As of `read_heads` and `check_range`; or the classes are not as many as the
            classifiers know.
    """
    source, heads = sources["val"], read_heads(recipe)
    check_range(source)
    if heads.num_classes != len(source.class_names):
        raise ValueError(
            f"ckpt_path: {recipe.ckpt_path} tells {heads.num_classes} classes apart, but {source.description} has "
            f"{len(source.class_names)}"
        )


def run(create_network, recipe, subject, source, tools):
    """Scores the heads of a checkpoint, each rank its share of the images.

    Args:
        create_network (Callable): (backbone, normalize, num_classes, names) to the `Classifier` of the task.
        recipe (Recipe): Names the checkpoint.
        subject (Scored): Its backbone.
        source (Source): What is scored.
        tools (Tools): Ranks.

    Yields:
        tuple[str, float]: See `classification.summary`.
    """
    heads = read_heads(recipe)
    normalize = Normalize(subject.mean, subject.std)
    network = create_network(subject.backbone, normalize, heads.num_classes, heads.names)
    parameters = {p.name: p for p in network.get_parameters() if p.name.startswith(PREFIX)}
    checkpoint.load_parameters(parameters, heads.arrays, recipe.ckpt_path)
    with evaluating(network):
        found = tools.classify(Logits(network), source)
    chosen = heads.chosen
    if chosen is None:
        chosen = best_of(found.scores)
        if len(found.scores) > 1:
            logger.warning(f"the best of {', '.join(heads.names)} is chosen on the images that are scored")
    scores = summary(heads.names, found.scores, chosen)
    logger.info(_table(subject.card.model, tools.devices, found.images_per_second, scores["top1"]))
    yield from scores.items()


def _table(model, devices, images_per_second, top1):
    """In the columns of the DeepSpark page on BYOL."""
    rate = "" if images_per_second is None else f"{images_per_second:.0f}"
    return f"\n| Model | FPS ({devices}) | TOP1 Accuracy |\n|---|---|---|\n| {model} | {rate} | {top1:.2f} |"
