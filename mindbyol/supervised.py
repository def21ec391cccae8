"""What all tasks that train on labels, masks or boxes have in common: what they bring to the training loop."""

from dataclasses import replace

from mindbyol.backbones import create_backbone
from mindbyol.byol import Normalize
from mindbyol.data import source_from_args, train_loader_from_args
from mindbyol.evaluation.subjects import open_trained
from mindbyol.evaluation.tools import Tools
from mindbyol.model_card import Card
from mindbyol.next_command import scoring
from mindbyol.training.optimizer import create_loss_scale, create_optimizer
from mindbyol.training.overflows import WatchOverflows
from mindbyol.training.precision import set_precision
from mindbyol.training.step import TrainOneStep


class SupervisedTraining:
    """What such a task brings to the training loop; see `training.loop`.

    A task makes the network (`create_network`) and what becomes of an image (`transform`), and may choose which parts
    compute in half precision, rates by name, and what the log says.

    Args:
        recipe (Recipe): Of such a task.
        world (World): Devices that train together.
    """

    def __init__(self, recipe, world):
        self.recipe = recipe
        self.world = world
        self.tools = Tools(recipe, world)
        self.source = source_from_args(recipe, recipe.train_split, recipe.num_samples)

    def create_network(self, backbone, normalize):
        """The network that is trained: a batch to its loss and the scalars that its `statistics` names.

        Args:
            backbone (Cell): See `backbones.create_backbone`.
            normalize (Cell): What the backbone wants done to pixels.
        """
        raise NotImplementedError

    def transform(self):
        """What becomes of an image that is trained on; see `data.views`."""
        raise NotImplementedError

    def half_precision_cells(self):
        """The cells that mixed precision may touch, each as the cell that holds it and its name there."""
        return [(self.network, "backbone")]

    def multiplier(self, name):
        """What the learning rate of a parameter is multiplied by."""
        return 1.0

    def formats(self):
        """What a log line says of the network's statistics: {name: format}."""
        return {name: name + ": {:.4f}" for name in self.network.statistics}

    def build(self, plan, card=None):
        """See `training.loop`.

        Returns:
            TrainOneStep: Not yet compiled.
        """
        recipe = self.recipe
        backbone, self.backbone_card = _open_backbone(recipe, card)
        self.network = self.create_network(backbone, Normalize(self.backbone_card.mean, self.backbone_card.std))
        set_precision(self.network, self.half_precision_cells(), recipe.amp_level, recipe.amp_dtype)
        self.network.set_train()
        optimizer = create_optimizer(recipe, self.network, plan, self.multiplier)
        loss_scale = create_loss_scale(recipe)
        self.watchers = [WatchOverflows()] if loss_scale else []
        self.shown = {"loss": "loss: {:.4f}", "lr": "lr: {:.4g}", **self.formats()}
        return TrainOneStep(self.network, optimizer, None, plan.accumulation, loss_scale, self.world.ranks)

    def batches(self, plan, done):
        """See `data.PretrainLoader`."""
        return train_loader_from_args(
            self.recipe,
            self.source,
            self.transform(),
            self.world.rank,
            self.world.ranks,
            plan.steps_per_epoch * plan.accumulation,
            done * plan.accumulation,
            plan.total_steps * plan.accumulation,
        )

    def inputs(self, batch):
        """What the step takes of a batch: all of it."""
        return batch

    def validate(self):
        """Without scores on the way."""
        return {}

    def facts(self):
        """For the log, before the first step."""
        card = self.backbone_card
        backbone = sum(p.size for p in self.network.get_parameters() if p.name.startswith("online.backbone."))
        trained = sum(p.size for p in self.network.trainable_params())
        return {
            "Model": f"{card.model}, stem {card.stem}, padding {card.padding}, {self.recipe.image_resize} px",
            "Model parameters": f"{backbone} in the backbone, {trained} trained",
        }

    def card(self):
        """What the network of a checkpoint is."""
        return self.backbone_card

    def exports(self, arrays):
        """Nothing is written beside a checkpoint."""
        return {}

    def next_command(self, path):
        """Scores what was trained."""
        return scoring(self.recipe, path())


def _open_backbone(recipe, card):
    """The backbone that a run starts with, and its card: from the weights that the recipe names, or from nothing.

    Of a run that goes on, `card` is that of its checkpoint: the network is built, and the weights come later.
    """
    if recipe.ckpt_path and recipe.pretrained_from:  # not in `check`: validate.py has a ckpt_path of its own
        raise ValueError("pretrained_from: ckpt_path names weights to start from already; drop one of the two")
    path = recipe.pretrained_from or recipe.ckpt_path
    if card is None and path:
        start = open_trained(recipe, path)
        if start.card.model != recipe.model:  # by which the run's checkpoints are called
            raise ValueError(f"model: {path} is a checkpoint of {start.card.model}; set --model {start.card.model}")
        backbone, card = start.backbone, replace(start.card, mean=list(start.mean), std=list(start.std))
    else:
        if card is None:
            card = Card(**{key: recipe.plain()[key] for key in ("model", "stem", "stages", "padding", "mean", "std")})
        backbone = create_backbone(card.model, card.stem, card.padding, recipe.image_resize, card.stages)
    keys = ("model", "stem", "stages", "padding", "mean", "std")
    seen = {"image_resize": recipe.image_resize, "background": recipe.background}
    return backbone, Card(**seen, **{key: getattr(card, key) for key in keys})
