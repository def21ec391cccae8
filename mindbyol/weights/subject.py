"""The one door to a trained backbone: any weights file in, the network that it is for out, ready to be evaluated."""

from typing import NamedTuple

from mindspore import nn

from mindbyol import checkpoint
from mindbyol.model_card import Card
from mindbyol.weights import layouts, networks
from mindbyol.weights.reading import read_weights


class Subject(NamedTuple):
    """A trained backbone and what is known of it.

    Attributes:
        path (str): The file.
        backbone (Cell): As of `backbones.create_backbone`, with the stem, padding and stages of the card and the
            online weights of the file, in evaluation mode.
        card (Card): Model, stem and padding always; `mean` and `std` are None where neither file nor project says them.
        digest (str): SHA-256 of the online backbone, the same whatever the format of the file.
        found (str): What the file is, for people.
        image_size (int): Side of the images that it is built for, in pixels.
        weights (dict[str, ndarray]): All arrays of the file under our names; see `layouts.PARTS`.
    """

    path: str
    backbone: nn.Cell
    card: Card
    digest: str
    found: str
    image_size: int
    weights: dict

    def __repr__(self):
        card = self.card
        return (
            f"<{self.found}: {card.model}, stem {card.stem}, padding {card.padding}, {self.image_size} px, "
            f"{self.backbone.num_features} features, from {self.path}>"
        )


def open_subject(path, model=None, image_size=None):
    """Reads a weights file of any known project, once, and builds the backbone that it is for.

    Args:
        path (Path): The file; see `read_weights`.
        model (str): MindCV's name of the network. Needed for files of others than ResNets that do not say it; a file of
            another network is refused.
        image_size (int): Side of the images that it will see, in pixels; that of the training by default.

    Returns:
        Subject: The backbone, and what is known of it.

    Raises:
        FileNotFoundError, ValueError: As `read_weights`; or the network takes no images of this size.
    """
    weights = read_weights(path, model=model)
    digest = checkpoint.digest(weights.part(layouts.ONLINE))
    size = image_size or weights.card.image_size
    backbone = networks.build(weights, image_size=size)
    return Subject(str(path), backbone, weights.card, digest, weights.found, size, weights.arrays)
