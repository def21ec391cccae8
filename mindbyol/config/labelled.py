"""The keys that tasks which train with labels share: the view of an image that is trained on, and scores on the way."""

from mindbyol.config.common import PRETRAINED_FROM
from mindbyol.config.keys import Changes, Group, Key
from mindbyol.config.values import COUNT, NOT_NEGATIVE, boolean
from mindbyol.data.one_view import CROPS
from mindbyol.data.view_recipe import PER_VIEW
from mindbyol.data.views import JITTER_OPERATIONS


def _of_view(name, default, what):
    """A key of BYOL's views with the numbers of one view."""
    count = PER_VIEW[name].numbers
    return Key(name, default, PER_VIEW[name].parse, what, nargs=count if count > 1 else None)


AUGMENTATION = Group(
    "Augmentation parameters",
    (
        Key(
            "train_crop",
            "random_resized_crop",
            str,
            "resize_random_crop: a random part of the central square (Places205); center: that of crop_pct, as in "
            "evaluation",
            choices=CROPS,
        ),
        _of_view("scale", (0.08, 1.0), "random_resized_crop: share of the image's area, smallest and largest"),
        _of_view("ratio", (3 / 4, 4 / 3), "random_resized_crop: width divided by height, smallest and largest"),
        _of_view("hflip", 0.5, "probability of mirroring an image left to right"),
        _of_view("color_jitter", (0.4, 0.4, 0.4, 0.0), "largest change of brightness, contrast, saturation and hue"),
        _of_view("color_jitter_prob", 0.0, "probability of changing the colours of an image"),
        Key("jitter", "torchvision", str, "whose formulas of the colour jitter", choices=tuple(JITTER_OPERATIONS)),
        Key("lighting", 0.0, NOT_NEGATIVE, "standard deviation of PCA lighting; AlexNet's is 0.1, 0 is none"),
    ),
    training_only=True,
)

VAL_WHILE_TRAIN = Group(
    "Validation while training",
    (
        Key(
            "val_while_train",
            True,
            boolean,
            "score val_split at the end of epochs, and keep the weights of the best score",
            Changes.LOGS,
        ),
        Key("val_interval", 1, COUNT, "epochs between scores; the last epoch is scored, too", Changes.LOGS),
    ),
    training_only=True,
)

CLASSIFIER = Group(
    "Classifier parameters",
    (
        Key("num_classes", None, COUNT, "how many classes there must be; by default as many as the data set has"),
        PRETRAINED_FROM,
    ),
)
