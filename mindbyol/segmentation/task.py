"""Trains an FCN on a pretrained ResNet to tell the class of each pixel; validate.py gives its mIoU."""

from dataclasses import replace

import numpy as np

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
from mindbyol.config.keys import Group, Key
from mindbyol.config.labelled import VAL_WHILE_TRAIN
from mindbyol.config.values import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, boolean, number
from mindbyol.data import source_from_args
from mindbyol.data.masks import look_at_some
from mindbyol.data.resizing import scaled_size
from mindbyol.dilation import dilate
from mindbyol.evaluation.classification import evaluating
from mindbyol.evaluation.heads import read_arrays
from mindbyol.segmentation import miou, pictures
from mindbyol.segmentation.inference import MODES, Inference
from mindbyol.segmentation.network import Segmenter, dropped_channels
from mindbyol.segmentation.transforms import ResizeTransform, TrainTransform

NETWORK = Group(
    "Segmentation network",
    (
        Key("output_stride", 8, number(int), "pixels of the image a step of the last map is", choices=(8, 16, 32)),
        Key(
            "contract_dilation",
            True,
            boolean,
            "the first block of a dilated stage has the dilation of the stage before, as in mmcv and torchvision",
        ),
        Key("head_convs", 2, COUNT, "3x3 convolutions of the head"),
        Key("head_channels", 512, COUNT, "channels of each"),
        Key("head_dilation", 1, COUNT, "dilation of each"),
        Key("head_concat", True, boolean, "one more convolution sees the last map and what became of it"),
        Key("head_dropout", 0.1, number(float, 0, below=1), "probability of dropping a channel before the scores"),
        Key("aux_weight", 0.4, NOT_NEGATIVE, "weight of the loss of an auxiliary head on stage 3; 0 is no such head"),
        Key("aux_channels", 256, COUNT, "channels of the auxiliary head"),
        Key("align_corners", False, boolean, "how logits are interpolated; True for Cityscapes"),
    ),
)
TRANSFORM = Group(
    "Segmentation images",
    (
        Key(
            "resize_to",
            (2048, 512),
            number(int, 0, 16384),
            "most pixels of the longer and of the shorter side that images are resized to; 0 0 leaves them as they are",
            nargs=2,
        ),
        Key("scale_ratio", (0.5, 2.0), POSITIVE, "training: what the size is multiplied by, from and to", nargs=2),
        Key(
            "class_share",
            0.75,
            number(float, 0, 1, above=0),
            "training: a crop is drawn again while one class has this share of it or more, ten times at most; 1: never",
        ),
        Key("hflip", 0.5, FRACTION, "training: probability of mirroring an image left to right"),
        Key("photometric", True, boolean, "training: change brightness, contrast, saturation and hue"),
    ),
    "Training crops squares of image_resize pixels.",
)
TEST = Group(
    "Test parameters",
    (
        Key(
            "test_mode",
            "whole",
            str,
            "whole images; a window of image_resize pixels that slides; or the central crop of that size alone",
            choices=MODES,
        ),
        Key("test_stride", 512, COUNT, "slide: pixels from one window to the next"),
    ),
)

KEYS = (
    SYSTEM,
    DATASET.with_defaults(dataset="voc12_segmentation", batch_size=4),
    IMAGES.without("interpolation").with_defaults(image_resize=512),
    TRANSFORM,
    BACKBONE,
    Group("Weights to start from", (PRETRAINED_FROM,)),
    NETWORK,
    OPTIMIZER.with_defaults(opt="sgd", weight_decay=5e-4, filter_bias_and_bn=False),
    SCHEDULER.with_defaults(scheduler="polynomial_decay", decay_rate=0.9, lr=0.01, min_lr=1e-4),
    STEPS,
    MIXED_PRECISION,
    RUN.with_defaults(epoch_size=30),
    EVALUATION.only("val_split", "results"),
    VAL_WHILE_TRAIN,
    TEST,
    PICTURES,
)


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    dense.check_recipe(recipe)
    if (recipe.resize_to[0] == 0) != (recipe.resize_to[1] == 0):
        raise ValueError(f"resize_to: {recipe.resize_to[0]} {recipe.resize_to[1]}: both are 0, or neither is")
    if recipe.test_mode == "center" and recipe.resize_to[0]:
        raise ValueError("test_mode: center takes crops of images as they are; set resize_to 0 0")
    if recipe.test_mode == "slide" and recipe.test_stride > recipe.image_resize:
        raise ValueError(
            f"test_stride: {recipe.test_stride} is above the window's {recipe.image_resize} pixels (image_resize): "
            "pixels between windows would have no class"
        )
    _train_transform(recipe)


def _train_transform(recipe):
    dropped = dropped_channels({key.name: recipe.values[key.name] for key in NETWORK.keys})
    of_transform = (recipe.scale_ratio, recipe.class_share, recipe.hflip, recipe.photometric)
    return TrainTransform(recipe.image_resize, _bounds(recipe), *of_transform, dropped)


def _bounds(recipe):
    return recipe.resize_to if recipe.resize_to[0] else None


def create_network(backbone, normalize, num_classes, settings):
    """An FCN on a backbone, which becomes a dilated one.

    Args:
        backbone (Cell): See `backbones.create_backbone`.
        normalize (Cell): What it wants done to pixels.
        num_classes (int): Classes.
        settings (dict): Keys of `NETWORK`.

    Raises:
        ValueError: The backbone is no ResNet.
    """
    dilate(backbone, settings["output_stride"], settings["contract_dilation"])
    return Segmenter(backbone, normalize, num_classes, settings)


def check_crop(recipe, source):
    """Looks at some images and masks.

    Raises:
        DataError: A mask holds an id that is no class.
        ValueError: The crop is larger than all of them, however much they are enlarged.
    """
    sizes = look_at_some(source)
    largest = [scaled_size(*size, _bounds(recipe), recipe.scale_ratio[1]) for size in sizes.tolist()]
    if largest and max(map(max, largest)) < recipe.image_resize:
        height, width = max(largest, key=max)
        raise ValueError(
            f"image_resize: a crop of {recipe.image_resize} pixels is larger than every image: the largest of "
            f"{len(sizes)} of {source.description} has {width} x {height} after resizing; lower it, or raise resize_to "
            "or scale_ratio"
        )


def splits(recipe):
    """What is scored."""
    return {"val": recipe.val_split}


def check_data(recipe, sources):
    """Everything that can be wrong between checkpoint and data, before the backbone is opened.

    Raises:
        FileNotFoundError, ValueError: As of `heads.read_arrays`; or the classes are not as many as it tells apart.
        DataError: A mask holds an id that is no class.
    """
    source = sources["val"]
    dense.check_target(source)
    arrays, card = read_arrays(recipe)
    dense.network_settings(recipe, NETWORK, card)
    known = len(arrays["heads.decode.scores.bias"])
    if known != len(source.class_names):
        raise ValueError(
            f"ckpt_path: {recipe.ckpt_path} tells {known} classes apart, but {source.description} has "
            f"{len(source.class_names)}"
        )
    look_at_some(source)


def run(recipe, subject, sources, tools):
    """Yields `miou`, `mean_accuracy`, `pixel_accuracy` and the IoU of each class, in percent."""
    arrays, card = read_arrays(recipe)
    settings = card.more[recipe.task]  # checked with the data
    source = sources["val"]
    network = create_network(subject.backbone, Normalize(subject.mean, subject.std), len(source.class_names), settings)
    parameters = {p.name: p for p in network.get_parameters() if p.name.startswith("heads.")}
    checkpoint.load_parameters(parameters, arrays, recipe.ckpt_path)
    with evaluating(network):
        yield from score(recipe, inference_of(recipe, network), source, tools, recipe.visualize).items()


def inference_of(recipe, network):
    """How the recipe tests a network."""
    return Inference(network, recipe.test_mode, recipe.image_resize, recipe.test_stride, network.align_corners)


def score(recipe, inference, source, tools, pictured=0):
    """Scores a network on all images of a source, each rank its share; all ranks must ask.

    Args:
        recipe (Recipe): How images are resized, and where pictures go.
        inference (Inference): Of the network, which is in evaluation mode.
        source (Source): With masks.
        tools (Tools): The ranks.
        pictured (int): How many of the first images are drawn, by the first rank.

    Returns:
        dict[str, float]: See `miou.scores`.
    """
    classes = len(source.class_names)
    areas = np.zeros((3, classes), np.int64)
    images = tools.one_by_one(source, ResizeTransform(_bounds(recipe)))
    with dense.test_bar(len(images), tools) as bar:
        for place, (index, (image, resized, mask)) in enumerate(images):
            labels, box = inference(resized, *mask.shape)
            areas += miou.count_areas(labels, mask[box], classes)
            if tools.is_first and place < pictured:
                pictures.save(recipe.pictures_dir, source.name(index), pictures.draw(image, mask, labels, box))
            bar.update()
    return miou.scores(tools.total_counts(areas), source.class_names)


class Training(dense.DenseTraining):
    """What segmentation brings to the training loop; see `training.loop`."""

    def __init__(self, recipe, world):
        super().__init__(recipe, world)
        check_crop(recipe, self.source)
        self.val_source = None
        if recipe.val_while_train:
            self.val_source = source_from_args(recipe, recipe.val_split)
            dense.check_same_classes(self.source, self.val_source)
            look_at_some(self.val_source)

    def build(self, plan, card=None):
        """See `training.loop`."""
        step = super().build(plan, card)
        self.inference = inference_of(self.recipe, self.network)
        return step

    def create_dense_network(self, backbone, normalize):
        """See `create_network`."""
        settings = dense.network_settings(self.recipe, NETWORK)
        return create_network(backbone, normalize, len(self.source.class_names), settings)

    def half_precision_cells(self):
        return self.network.half_precision_cells()

    def transform(self):
        return _train_transform(self.recipe)

    def validate(self):
        """Scores the network as it is, without the IoU of each class."""
        with evaluating(self.network):
            found = score(self.recipe, self.inference, self.val_source, self.tools)
        return {name: value for name, value in found.items() if not name.startswith("iou_")}

    def card(self):
        """What the network of a checkpoint is: the settings of its heads under the name of the task."""
        settings = dense.network_settings(self.recipe, NETWORK)
        return replace(self.backbone_card, more={"heads": list(self.network.heads.names), "segmentation": settings})
