"""Pretrains a backbone with BYOL on images without labels."""

import logging

from mindbyol import checkpoint
from mindbyol.backbones import create_backbone
from mindbyol.byol import BYOL, BYOLTrainOneStep, Encoder, Normalize
from mindbyol.collapse import WatchCollapse
from mindbyol.config.common import (
    BACKBONE,
    DATASET,
    IMAGES,
    MIXED_PRECISION,
    OPTIMIZER,
    PRETRAINED_FROM,
    RUN,
    SCHEDULER,
    SYSTEM,
    check_images,
    check_optimizer,
    warn_of_unused,
)
from mindbyol.config.keys import Changes, Group, Key
from mindbyol.config.values import COUNT, FRACTION, boolean, number
from mindbyol.data import (
    find_labelled_splits,
    pretrain_loader_from_args,
    source_from_args,
    two_view_transform_from_args,
)
from mindbyol.data.sources import are_files
from mindbyol.data.views import JITTER_OPERATIONS, PER_VIEW
from mindbyol.evaluation.online_knn import OnlineKNN
from mindbyol.heads import MLP, dense
from mindbyol.model_card import Card
from mindbyol.next_command import embedding, scoring, typed
from mindbyol.training import memory
from mindbyol.training.batch_norm import synchronize
from mindbyol.training.measures import Measures
from mindbyol.training.optimizer import create_loss_scale, create_optimizer
from mindbyol.training.overflows import WatchOverflows
from mindbyol.training.precision import set_precision
from mindbyol.weights import read_weights

logger = logging.getLogger(__name__)

HEAD_WIDTH = number(int, 1, 16384, why="published heads are 256 to 16384 wide")

VIEWS = Group(
    "Augmentation parameters",
    (
        Key("jitter", "deepmind", str, "whose formulas of the colour jitter", choices=tuple(JITTER_OPERATIONS)),
        *(Key(name, view.default, view.parse, view.help, nargs="+") for name, view in PER_VIEW.items()),
    ),
    "Numbers of a view stand once for both views, or twice: view 1's, then view 2's.",
)

BYOL_KEYS = Group(
    "BYOL parameters",
    (
        Key("base_tau", 0.99, FRACTION, "share of the old target in the new one at the first step; 1 at the last"),
        Key("projector_hidden_size", 1024, HEAD_WIDTH, "hidden width of the projector"),
        Key("projection_size", 256, HEAD_WIDTH, "width of projections and predictions"),
        Key("predictor_hidden_size", 1024, HEAD_WIDTH, "hidden width of the predictor"),
        Key("probe", True, boolean, "trains a linear classifier beside BYOL where there are labels, to watch it"),
        Key(
            "gradient_norm",
            False,
            boolean,
            "each step takes the norm of its gradient for metrics.jsonl; small networks become slower by some percent",
            Changes.LOGS,
        ),
        PRETRAINED_FROM,
    ),
)

VAL_WHILE_TRAIN = Group(
    "Validation while training",
    (
        Key(
            "val_while_train",
            True,
            boolean,
            "score the backbone by kNN at the end of epochs, where train_split and val_split have labels",
            Changes.LOGS,
        ),
        Key("val_interval", 10, COUNT, "epochs between scores; the last epoch is scored, too", Changes.LOGS),
        Key(
            "knn_samples", 5000, COUNT, "most images of train_split that vote, and of val_split voted on", Changes.LOGS
        ),
    ),
)

# Without a recipe they are meant for a folder of some thousand images; recipes have their own.
KEYS = (
    SYSTEM,
    DATASET,
    IMAGES,
    VIEWS,
    BACKBONE,
    BYOL_KEYS,
    OPTIMIZER,
    SCHEDULER.with_defaults(base_lr=2.0),
    MIXED_PRECISION,
    RUN.with_defaults(epoch_size=50, keep_checkpoint_max=2),
    VAL_WHILE_TRAIN,
)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    check_images(recipe)
    check_optimizer(recipe)
    two_view_transform_from_args(recipe)
    warn_of_unused(recipe)


class Training:
    """What BYOL brings to the training loop; see `training.loop`.

    Args:
        recipe (Recipe): Of the task `byol`.
        world (World): Devices that train together.
    """

    keeps_best = False  # BYOL ends with its last weights: images with labels must not choose them

    def __init__(self, recipe, world):
        self.recipe = recipe
        self.world = world
        self.source = source_from_args(recipe, recipe.train_split, recipe.num_samples)
        labelled = recipe.probe and self.source.labels is not None
        self.num_classes = len(self.source.class_names) if labelled else None
        self.padding = recipe.padding
        self.knn, self.no_knn = None, "val_while_train is off"
        if recipe.val_while_train:
            try:
                self.knn = OnlineKNN(recipe, world, self.source)
            except (ValueError, OSError) as error:
                if "val_while_train" in recipe.asked:
                    raise ValueError(f"val_while_train: no kNN while training: {error}") from error
                self.no_knn = str(error)

    def build(self, plan, card=None):
        """The network, from the weights that the recipe names, and the step that trains it.

        Args:
            plan (Plan): Steps of the run.
            card (Card): Of the run that goes on, whose weights will be loaded; None for a new one.

        Returns:
            BYOLTrainOneStep: Not yet compiled.
        """
        start = None if card else read_start(self.recipe)
        if card or start:
            self.padding = (card or start.card).padding
        self.network = create_byol(self.recipe, self.padding, self.num_classes)
        if start:
            start_from(self.network, start.arrays, self.recipe.pretrained_from or self.recipe.ckpt_path)
        self.mindcv_names = self.network.online.backbone.mindcv_names  # mixed precision puts a wrapper around it
        step = create_train_step(self.recipe, self.network, plan, self.world.ranks)
        self.accumulation = plan.accumulation
        self.measures = Measures(step)
        labels = self.source.labels if self.num_classes or self.knn else None
        self.collapse = WatchCollapse(self.recipe, plan.warmup_epochs, labels)
        self.watchers = [self.collapse] + ([WatchOverflows()] if step.loss_scale else [])
        self.shown = {
            "byol_loss": "loss: {:.4f}",
            "projection_std": "std: {:.4f}",
            **({"probe_accuracy": "probe: {:.1%}"} if self.num_classes else {}),
            "lr": "lr: {:.4g}",
        }
        if self.world.ranks > 1 and not self.recipe.sync_bn:
            logger.warning(
                f"sync_bn is off: each device normalises with the statistics of its own {self.recipe.batch_size} "
                "images, which BYOL's published results do not"
            )
        return step

    def batches(self, plan, done):
        """See `data.PretrainLoader`."""
        return pretrain_loader_from_args(
            self.recipe,
            self.source,
            self.world.rank,
            self.world.ranks,
            plan.steps_per_epoch * plan.accumulation,
            done * plan.accumulation,
        )

    def inputs(self, batch):
        """What the step takes of a batch: the views, and with a probe the labels."""
        return batch if self.num_classes else batch[:2]

    def validate(self):
        """The backbone by its neighbours; nothing where there are no labels."""
        if self.knn is None:
            return {}
        scores = self.knn.score(self.network.online.backbone)
        self.collapse.knn = next(iter(scores.items()))
        return scores

    def facts(self):
        """For the log, before the first step."""
        recipe, network = self.recipe, self.network
        backbone = sum(p.size for p in network.online.backbone.get_parameters())
        trained = sum(p.size for p in network.trainable_params())
        knn = f"none: {self.no_knn}"
        if self.knn:
            knn = f"every {recipe.val_interval} epochs, {self.knn.queries.description} by {self.knn.bank.description}"
        need = {}
        if self.world.target == "CPU":  # other devices end with a message
            images = recipe.batch_size * self.accumulation
            need = {"Memory": memory.note(network, recipe.batch_size, recipe.image_resize, images)}
        return {
            "Number of classes": self.num_classes or "no probe, so none",
            "kNN while training": knn,
            "Model": f"{recipe.model}, stem {recipe.stem}, padding {self.padding}, {recipe.image_resize} px",
            "Model parameters": f"{backbone} in the backbone, {trained} trained",
            **need,
            "Tau": f"{recipe.base_tau} to 1",
            "Healthy std": f"about {self.collapse.healthy_std:.4f} = 1 / sqrt({recipe.projection_size})",
        }

    def card(self):
        """What the network of a checkpoint is."""
        keys = ("model", "stem", "stages", "image_resize", "mean", "std", "background")
        return Card(padding=self.padding, **{key: self.recipe.plain()[key] for key in keys})

    def exports(self, arrays):
        """The online backbone alone, with MindCV's names."""
        backbone = checkpoint.to_mindcv(checkpoint.online_backbone(arrays), self.mindcv_names)
        return {"_backbone": (backbone, "backbone")}

    def next_command(self, path):
        """Scores the backbone where there are labels; else writes the features of the images, where these are files."""
        recipe, weights = self.recipe, path("_backbone")
        splits = find_labelled_splits(recipe)
        if splits:
            return scoring(
                recipe, weights, **{key: split for key, split in splits.items() if split != recipe.values[key]}
            )
        if are_files(self.source):
            return embedding(recipe, weights, weights.with_name("features.npz"))
        return typed("inspect", weights)


def create_byol(recipe, padding=None, num_classes=None):
    """The BYOL cell of a recipe.

    Args:
        recipe (Recipe): The recipe.
        padding (str): That of the weights it will get; the recipe's by default.
        num_classes (int): Classes of the online probe; None for no probe.

    Returns:
        BYOL: In train mode; target and online are initialised independently, as DeepMind's are.
    """

    def encoder():
        backbone = create_backbone(
            recipe.model, recipe.stem, padding or recipe.padding, recipe.image_resize, recipe.stages
        )
        projector = MLP(backbone.num_features, recipe.projector_hidden_size, recipe.projection_size)
        return Encoder(backbone, projector)

    online, target = encoder(), encoder()
    predictor = MLP(recipe.projection_size, recipe.predictor_hidden_size, recipe.projection_size)
    probe = dense(online.backbone.num_features, num_classes) if num_classes else None
    return BYOL(online, predictor, target, Normalize(recipe.mean, recipe.std), probe).set_train()


def read_start(recipe):
    """The weights that a recipe starts from, `ckpt_path` or `pretrained_from`: a file of any known project.

    Args:
        recipe (Recipe): The recipe.

    Returns:
        Weights or None: `arrays`, named `online.backbone...` and, if the file has them, `online.projector...`,
        `predictor...` and `target...`, and `card`, whose padding the network must have; None when the recipe names no
        weights.

    Raises:
        FileNotFoundError, ValueError: The file is not there, no checkpoint, of another model, or holds values that are
            not finite.
    """
    if recipe.ckpt_path and recipe.pretrained_from:  # not in `check`: validate.py has a ckpt_path of its own
        raise ValueError("pretrained_from: ckpt_path names weights to start from already; drop one of the two")
    path = recipe.pretrained_from or recipe.ckpt_path
    if not path:
        return None
    weights = read_weights(path, model=recipe.model)
    logger.info("\n  ".join([f"{path}: {weights.found}", *weights.report]))
    return weights


def start_from(network, arrays, source):
    """Loads what there is of online backbone, projector, predictor and target.

    The backbone must fit; stages that it leaves out are left out of the weights, too. A head that is missing or of
    other sizes stays as initialised; a target that is missing starts as a copy of the online backbone.

    Args:
        network (BYOL): What to load into, before `create_train_step`.
        arrays (dict[str, ndarray]): Those of `read_start`.
        source (str): What to call them in messages.

    Raises:
        ValueError: The backbone does not fit.
    """
    dropped = network.online.backbone.dropped
    left_out = tuple(f"{part}.backbone.{child}." for part in ("online", "target") for child in dropped)
    arrays = {name: array for name, array in arrays.items() if not name.startswith(left_out)}
    if not any(name.startswith("target.backbone.") for name in arrays):
        online = {name: array for name, array in arrays.items() if name.startswith("online.backbone.")}
        arrays.update({name.replace("online", "target", 1): array for name, array in online.items()})
    for part in ("online.backbone.", "online.projector.", "predictor.", "target.backbone.", "target.projector."):
        parameters = {p.name: p for p in network.get_parameters() if p.name.startswith(part)}
        given = {name: array for name, array in arrays.items() if name.startswith(part)}
        try:
            count = checkpoint.load_parameters(parameters, given, source)
            logger.info(f"starting from {source}: {part[:-1]} {count}/{count} loaded, 0 missing, 0 unexpected")
        except ValueError:
            if "backbone" in part:
                raise
            why = "of another shape" if given else "not in the file"
            logger.info(f"starting from {source}: {part[:-1]} is {why}, it stays as initialised")


def create_train_step(recipe, network, plan, ranks=1):
    """The compiled step of a recipe; see `byol.BYOLTrainOneStep`.

    Changes the network in place: synchronised batch norms, then mixed precision.
    """
    if ranks > 1 and recipe.sync_bn:
        synchronize(network, ranks)
    set_precision(network, network.half_precision_cells(), recipe.amp_level, recipe.amp_dtype)
    optimizer = create_optimizer(recipe, network, plan)
    loss_scale = create_loss_scale(recipe)
    return BYOLTrainOneStep(
        network,
        optimizer,
        recipe.base_tau,
        plan.total_steps,
        plan.accumulation,
        loss_scale,
        ranks,
        recipe.gradient_norm,
    )
