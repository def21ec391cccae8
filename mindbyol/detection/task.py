"""Trains a Faster R-CNN or Mask R-CNN on a pretrained ResNet to find objects; validate.py gives average precision."""

from dataclasses import replace

from mindcv.models.resnet import ResNet

from mindbyol import checkpoint, dense
from mindbyol.byol import Normalize
from mindbyol.config.common import (
    BACKBONE,
    DATASET,
    EVALUATION,
    IMAGES,
    MIXED_PRECISION,
    OPTIMIZER,
    PRETRAINED_FROM,
    RUN,
    SYSTEM,
)
from mindbyol.config.dense import PICTURES, SCHEDULER, STEPS
from mindbyol.config.keys import Changes, Group, Key, path
from mindbyol.config.labelled import VAL_WHILE_TRAIN
from mindbyol.config.values import COUNT, FRACTION, IMAGE_SIZE, POSITIVE, number
from mindbyol.data import source_from_args
from mindbyol.detection import c4, mask_rcnn
from mindbyol.detection.average_precision import MODES
from mindbyol.detection.images import for_training
from mindbyol.detection.mask_head import OBJECT_SIDE
from mindbyol.detection.scoring import score
from mindbyol.detection.transforms import TestTransform, TrainTransform
from mindbyol.detection.two_stage import Detect, Sizes
from mindbyol.evaluation.classification import evaluating
from mindbyol.evaluation.heads import read_arrays

C4, FPN = "faster_rcnn_c4", "mask_rcnn_fpn"

TRANSFORM = Group(
    "Detection images",
    (
        Key("long_side", 1333, IMAGE_SIZE, "most pixels of the longer side that images are resized to"),
        Key(
            "train_short_sides",
            tuple(range(480, 801, 32)),
            IMAGE_SIZE,
            "training: most pixels of the shorter side; one of these is drawn for each image",
            nargs="+",
        ),
        Key("hflip", 0.5, FRACTION, "training: probability of mirroring an image left to right"),
        Key("max_objects", 100, COUNT, "training: objects an image that are learned; more are left out"),
    ),
    "In tests the shorter side has at most image_resize pixels. Images keep their shape.",
)
NETWORK = Group(
    "Detection network",
    (
        Key(
            "detector",
            C4,
            str,
            "faster_rcnn_c4 looks at the fourth map and finds boxes; mask_rcnn_fpn looks at a pyramid of them and "
            "finds masks, too. The other defaults are those of faster_rcnn_c4; recipes have what goes with each",
            choices=(C4, FPN),
        ),
        Key(
            "pyramid_channels",
            256,
            COUNT,
            "mask_rcnn_fpn: channels of the pyramid; the box head ends with four times as many",
        ),
        Key(
            "anchor_scales",
            (2, 4, 8, 16, 32),
            POSITIVE,
            "sides of the square anchors, in pixels from one position of the map to the next: 16 with faster_rcnn_c4, "
            "4 to 64 with mask_rcnn_fpn",
            nargs="+",
        ),
        Key("rpn_samples", 256, number(int, 2, 65536), "training: anchors an image that are learned from"),
        Key(
            "train_candidates",
            12000,
            COUNT,
            "training: anchors of each map with the highest scores that may be proposals",
        ),
        Key("train_proposals", 2000, COUNT, "training: proposals an image"),
        Key(
            "test_candidates",
            6000,
            COUNT,
            "tests: anchors of each map with the highest scores that may be proposals",
        ),
        Key("test_proposals", 1000, COUNT, "tests: proposals an image"),
        Key("roi_samples", 512, number(int, 4, 65536), "training: regions an image that are learned from"),
    ),
)

TEST = Group(
    "Test parameters",
    (
        Key(
            "ap_mode",
            "11points",
            str,
            "average precision of VOC: 11 points, as of 2007, or the whole area, as since 2010; COCO has its own",
            choices=MODES,
        ),
        Key(
            "detections_dir",
            None,
            path,
            "validate.py: folder for files of what was found: VOC's text files, or COCO's JSON",
            Changes.PATHS,
        ),
    ),
)

KEYS = (
    SYSTEM,
    DATASET.with_defaults(dataset="voc_detection", train_split="2007_trainval+2012_trainval", batch_size=2),
    IMAGES.without("interpolation").with_defaults(image_resize=800),
    TRANSFORM,
    BACKBONE,
    Group("Weights to start from", (PRETRAINED_FROM,)),
    NETWORK,
    OPTIMIZER.with_defaults(opt="sgd", weight_decay=1e-4, filter_bias_and_bn=False),
    SCHEDULER.with_defaults(scheduler="multi_step_decay", lr=0.02),
    STEPS,
    MIXED_PRECISION,
    RUN.with_defaults(epoch_size=24),
    EVALUATION.only("val_split", "results").with_defaults(val_split="2007_test"),
    VAL_WHILE_TRAIN,
    TEST,
    PICTURES,
)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    dense.check_recipe(recipe)
    shortest = min(recipe.image_resize, *recipe.train_short_sides)
    if shortest < c4.STRIDE:
        raise ValueError(
            f"image_resize, train_short_sides: {shortest} pixels are less than a map's step of {c4.STRIDE}"
        )
    longest = max(recipe.image_resize, *recipe.train_short_sides)
    if longest > recipe.long_side:
        raise ValueError(f"long_side: {recipe.long_side} is below a shorter side of {longest}; raise it")
    for of_phase in ("train", "test"):
        candidates, proposals = recipe.values[f"{of_phase}_candidates"], recipe.values[f"{of_phase}_proposals"]
        if proposals > candidates:
            raise ValueError(
                f"{of_phase}_proposals: {proposals} of {candidates} candidates ({of_phase}_candidates); lower it"
            )


def canvas(recipe):
    """Height and width of a landscape with its padding: the least multiples of 32 that every image fits into."""
    shorter = max(recipe.image_resize, *recipe.train_short_sides)
    return tuple(-(-side // 32) * 32 for side in (shorter, recipe.long_side))


def create_network(recipe, backbone, normalize, num_classes, settings):
    """A detector on a backbone.

    Args:
        recipe (Recipe): Of this task.
        backbone (Cell): See `backbones.create_backbone`.
        normalize (Cell): What it wants done to pixels.
        num_classes (int): Without background.
        settings (dict): Keys of `NETWORK`.

    Raises:
        ValueError: The backbone is no ResNet.
    """
    if not isinstance(backbone, ResNet):
        raise ValueError(f"model: a detector is made of one of MindCV's ResNets or ResNeXts, not of '{recipe.model}'")
    sizes = Sizes(*(settings[name] for name in Sizes._fields))
    longest = max(canvas(recipe))
    if settings["detector"] == C4:
        return c4.FasterRCNN(backbone, normalize, num_classes, longest, sizes)
    width = settings["pyramid_channels"]
    return mask_rcnn.MaskRCNN(backbone, normalize, num_classes, longest, sizes, width, 4 * width)


def splits(recipe):
    """What is scored."""
    return {"val": recipe.val_split}


def check_data(recipe, sources):
    """Everything that can be wrong between checkpoint and data, before the backbone is opened.

    Raises:
        FileNotFoundError, ValueError: As of `heads.read_arrays`; or the data have no boxes, or not as many classes as
            the checkpoint tells apart.
    """
    source = sources["val"]
    check_boxes(source)
    arrays, _ = read_arrays(recipe)
    if any(name.startswith("heads.mask.") for name in arrays):
        check_masks(source)
    known = len(arrays["heads.roi.classify.bias"]) - 1
    if known != len(source.class_names):
        raise ValueError(
            f"ckpt_path: {recipe.ckpt_path} tells {known} classes apart, but {source.description} has "
            f"{len(source.class_names)}"
        )


def check_boxes(source):
    """Makes sure that a source has boxes.

    Raises:
        ValueError: It has not.
    """
    if not hasattr(source, "object_counts"):
        raise ValueError(f"dataset: {source.description}: there are no boxes to learn and to score with")


def check_masks(source):
    """Makes sure that the objects of a source have masks.

    Raises:
        ValueError: They have none.
    """
    if not source.has_masks:
        raise ValueError(
            f"dataset: {source.description}: there are no masks of objects to learn and to score with; set coco, or "
            f"--detector {C4}"
        )


def run(recipe, subject, sources, tools):
    """Yields the scores of a checkpoint's detector; see `scoring.score`."""
    arrays, card = read_arrays(recipe)
    settings = dense.network_settings(recipe, NETWORK, card)
    source = sources["val"]
    normalize = Normalize(subject.mean, subject.std)
    network = create_network(recipe, subject.backbone, normalize, len(source.class_names), settings)
    parameters = {p.name: p for p in network.get_parameters() if p.name.startswith("heads.")}
    checkpoint.load_parameters(parameters, arrays, recipe.ckpt_path)
    with evaluating(network):
        files = recipe.pictures_dir, recipe.visualize, recipe.detections_dir
        found = score(
            Detect(network), source, _test_transform(recipe), tools, recipe.ap_mode, *files, masks_in=_masks_in(network)
        )
        yield from found.items()


def _masks_in(network):
    """What finds masks; None if the network has none."""
    return mask_rcnn.MasksIn(network) if isinstance(network, mask_rcnn.MaskRCNN) else None


def _test_transform(recipe):
    return TestTransform(canvas(recipe), recipe.long_side, recipe.image_resize)


class Training(dense.DenseTraining):
    """What detection brings to the training loop; see `training.loop`."""

    def __init__(self, recipe, world):
        super().__init__(recipe, world)
        check_boxes(self.source)
        if recipe.detector == FPN:
            check_masks(self.source)
        self.source = for_training(self.source, recipe.max_objects)
        self.val_source = None
        if recipe.val_while_train:
            self.val_source = source_from_args(recipe, recipe.val_split)
            dense.check_same_classes(self.source, self.val_source)
            if recipe.detector == FPN:
                check_masks(self.val_source)

    def build(self, plan, card=None):
        """See `training.loop`."""
        step = super().build(plan, card)
        self.detect, self.masks_in = Detect(self.network), _masks_in(self.network)
        return step

    def create_dense_network(self, backbone, normalize):
        """See `create_network`."""
        settings = dense.network_settings(self.recipe, NETWORK)
        return create_network(self.recipe, backbone, normalize, len(self.source.class_names), settings)

    def half_precision_cells(self):
        return self.network.half_precision_cells()

    def losses(self):
        """The parts of the loss, as the log calls them."""
        return [name for name in self.network.statistics if name.startswith("loss_")]

    def formats(self):
        """Short ones, so that a line has room for all losses."""
        losses = {name: name.replace("loss_", "").replace("bbox", "box") + ": {:.3f}" for name in self.losses()}
        return {**losses, "acc": "acc: {:.1%}", "positives": "positives: {:.1f}"}

    def transform(self):
        recipe = self.recipe
        of_images = recipe.long_side, recipe.train_short_sides, recipe.hflip, recipe.max_objects
        module, mask_side = (c4, None) if recipe.detector == C4 else (mask_rcnn, OBJECT_SIDE)
        keys = module.keys_per_image(canvas(recipe), self.network.sizes, recipe.max_objects)
        return TrainTransform(canvas(recipe), *of_images, keys, mask_side)

    def inputs(self, batch):
        """What the step takes: the images in the shape of their canvas."""
        images, shape, *rest = batch
        return images.reshape(len(images), 3, *shape[0]), *rest

    def validate(self):
        """Scores the network as it is, without the AP of each class."""
        with evaluating(self.network):
            transform = _test_transform(self.recipe)
            mode = self.recipe.ap_mode
            found = score(self.detect, self.val_source, transform, self.tools, mode, masks_in=self.masks_in)
        return {name: value for name, value in found.items() if not name.startswith("ap50_")}

    def card(self):
        """What the network of a checkpoint is: the settings of its heads under the name of the task."""
        settings = dense.network_settings(self.recipe, NETWORK)
        return replace(self.backbone_card, more={"heads": list(self.network.heads.name_cells()), "detection": settings})
