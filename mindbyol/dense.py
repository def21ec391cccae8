"""What tasks that train on maps have in common: segmentation and detection."""

import contextlib
import logging
import sys
import time

from tqdm import tqdm

import mindspore as ms
from mindspore import nn, ops

from mindbyol.config.common import check_images, check_optimizer, warn_of_unused
from mindbyol.config.dense import check_steps
from mindbyol.config.keys import plain
from mindbyol.data import LABELLED_FOLDERS
from mindbyol.supervised import SupervisedTraining
from mindbyol.training.batch_norm import synchronize

logger = logging.getLogger(__name__)


def check_recipe(recipe):
    """Everything that can be wrong with the keys that dense tasks share; a ValueError names the key."""
    if recipe.dataset == "folder":
        raise ValueError(f"dataset: folder has neither masks nor boxes to learn; {LABELLED_FOLDERS}")
    check_images(recipe)
    check_optimizer(recipe)
    check_steps(recipe)
    warn_of_unused(recipe)


def check_target(source):
    """Makes sure that a source has masks or boxes.

    Raises:
        ValueError: It has not.
    """
    if not hasattr(source, "target"):
        raise ValueError(f"dataset: {source.description}: there are neither masks nor boxes to learn and to score with")


def check_same_classes(train, val):
    """Makes sure that what is scored has the classes that are trained on.

    Raises:
        ValueError: It has no targets, or other classes.
    """
    check_target(val)
    if train.class_names != val.class_names:
        raise ValueError(
            f"val_split: the classes of {train.description} and of {val.description} are not the same; equal numbers "
            "would not mean equal classes"
        )


@contextlib.contextmanager
def test_bar(count, tools):
    """A progress bar of a test, with img/s; what the images took is logged at the end.

    Args:
        count (int): Images of this rank.
        tools (Tools): Knows the rank; only the first shows and logs.

    Yields:
        tqdm: To be updated once an image.
    """
    started = time.perf_counter()
    hidden = not tools.is_first or not sys.stderr.isatty()
    with tqdm(total=count, desc="test", unit="img", leave=False, disable=hidden, dynamic_ncols=True) as bar:
        yield bar
    seconds = time.perf_counter() - started
    if tools.is_first:
        logger.info(f"tested {count} images a device in {seconds:.1f} s, {count / seconds:.2f} img/s ({tools.devices})")


def name_backbone(backbone):
    """Names a backbone's parameters as BYOL's checkpoints do, so that whatever reads one from those finds it.

    Args:
        backbone (Cell): See `backbones.create_backbone`.
    """
    for place, parameter in backbone.parameters_and_names():
        parameter.name = f"online.backbone.{place}"


class Stages(nn.Cell):
    """Some stages of a backbone as a cell of their own, which mixed precision can wrap: see `Backbone.maps`.

    Args:
        backbone (Cell): See `backbones.create_backbone`.
        first, end (int): Places in its `map_names`: from `first` on and before `end`, by default all.

    Inputs:
        Tensor (N, 3, H, W), normalised images; where `first` is not the stem, the map before it.

    Outputs:
        Tuple of the maps (N, C, H, W).
    """

    def __init__(self, backbone, first=0, end=None):
        super().__init__()
        self.backbone = backbone
        self.first = first
        self.end = end

    def construct(self, x):
        return self.backbone.maps(x, self.first, self.end)


def within(sizes, height, width):
    """1 where a batch has pixels, 0 where it is filled up below and to the right: padding of normalised images is 0.

    Args:
        sizes (Tensor): float32 (N, 2), height and width of the images.
        height, width (int): Of the batch.

    Returns:
        Tensor: float32 (N, 1, height, width).
    """
    rows = ops.arange(height).astype(ms.float32).reshape(1, height, 1) < sizes[:, 0].reshape(-1, 1, 1)
    columns = ops.arange(width).astype(ms.float32).reshape(1, 1, width) < sizes[:, 1].reshape(-1, 1, 1)
    return ops.logical_and(rows, columns).astype(ms.float32).expand_dims(1)


def network_settings(recipe, group, card=None):
    """What decides a dense network beside its backbone.

    Args:
        recipe (Recipe): The recipe.
        group (Group): The keys that do.
        card (Card): Of a trained checkpoint, which counts more than the recipe; None for a new network.

    Returns:
        dict[str, object]: Value by key.

    Raises:
        ValueError: The card lacks a key, or holds another type.
    """
    settings = {key.name: recipe.values[key.name] for key in group.keys}
    if card is None:
        return settings
    said = card.more.get(recipe.task)
    for key in group.keys:
        if not isinstance(said, dict) or not isinstance(said.get(key.name), type(plain(settings[key.name]))):
            raise ValueError(
                f"{recipe.ckpt_path}: its model card does not say `{key.name}` of its {recipe.task} network"
            )
        if key.name in recipe.given and said[key.name] != plain(settings[key.name]):
            logger.warning(f"{key.name}: the checkpoint's {said[key.name]} is used, not {plain(settings[key.name])}")
    return {key.name: said[key.name] for key in group.keys}


class DenseTraining(SupervisedTraining):
    """What such a task brings to the training loop; see `training.loop`.

    A task makes the network (`create_dense_network`); its parts beside the backbone are named `heads...`.

    Args:
        recipe (Recipe): Of such a task.
        world (World): Devices that train together.
    """

    def __init__(self, recipe, world):
        super().__init__(recipe, world)
        check_target(self.source)

    def create_dense_network(self, backbone, normalize):
        """See `SupervisedTraining.create_network`; batch norms over all devices come afterwards."""
        raise NotImplementedError

    def create_network(self, backbone, normalize):
        """The network, with batch norms over the images of all devices in backbone and heads.

        Raises:
            ValueError: The weights have no fourth stage.
        """
        if len(backbone.map_names) < 5:
            start = self.recipe.pretrained_from or self.recipe.ckpt_path
            found = f"{start} has" if start else "there are"
            raise ValueError(
                f"stages: {found} {len(backbone.map_names) - 1} of a network's 4 stages, and {self.recipe.task} needs "
                "the fourth, too; start from weights that have it"
            )
        network = self.create_dense_network(backbone, normalize)
        if self.world.ranks > 1 and self.recipe.sync_bn:
            synchronize(network, self.world.ranks)
        return network

    def facts(self):
        """For the log, before the first step."""
        return {
            "Number of classes": len(self.source.class_names),
            "Starting from": self.recipe.pretrained_from or self.recipe.ckpt_path or "nothing",
            **super().facts(),
        }
