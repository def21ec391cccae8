"""Networks built from weights, and their features: what every conversion is checked against."""

import logging

import numpy as np

import mindcv
from mindspore import Tensor, nn

from mindbyol.backbones import create_backbone
from mindbyol.byol import Encoder
from mindbyol.checkpoint import load_into
from mindbyol.heads import MLP
from mindbyol.runtime import pynative
from mindbyol.weights import layouts


def build(weights, heads=False, padding=None, image_size=None):
    """Builds the network of some weights, in evaluation mode.

    Args:
        weights (Weights): Arrays and card.
        heads (bool): With the projector behind the backbone.
        padding (str): Another padding than the weights' own, to see what it would give.
        image_size (int): Side of the images, in pixels; that of the training by default.

    Returns:
        Cell: (N, 3, H, W) normalised images to (N, D) features, or to features and projections with `heads`.

    Raises:
        ValueError: `heads` is asked for and the weights have no projector, or the images are too small.
    """
    card = weights.card
    size = image_size or card.image_size
    backbone = create_backbone(card.model, card.stem, padding or card.padding, size, card.stages)
    load_into(backbone, weights.part(layouts.ONLINE), weights.found)
    if not heads:
        return backbone.set_train(False)
    arrays = weights.part(layouts.PROJECTOR)
    if not arrays:
        raise ValueError(f"--heads: {weights.found}, which has no projector; leave the flag out")
    (hidden, width), out = arrays["fc0.weight"].shape, arrays["fc1.weight"].shape[0]
    projector = MLP(width, hidden, out, last_bias="fc1.bias" in arrays)
    load_into(projector, arrays, weights.found)
    return Encoder(backbone, projector).set_train(False)


class _MindCVFeatures(nn.Cell):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def construct(self, images):
        features = self.model.forward_features(images)
        return features.mean((2, 3)) if features.ndim == 4 else features.mean(1) if features.ndim == 3 else features


def load_in_mindcv(model, path):
    """Loads a checkpoint the way MindCV's users do; gives pooled features like `build`.

    Args:
        model (str): Name for `mindcv.create_model`.
        path (Path): A backbone-only checkpoint.
    """
    logging.disable(logging.WARNING)  # MindSpore warns that the file has no classifier
    try:
        return _MindCVFeatures(mindcv.create_model(model, checkpoint_path=str(path))).set_train(False)
    finally:
        logging.disable(logging.NOTSET)


def forward(network, images):
    """Runs a network once, without compiling it.

    Args:
        network (Cell): Any.
        images (ndarray): (N, 3, H, W) float32, normalised.

    Returns:
        list[ndarray]: Its outputs.
    """
    with pynative():
        outputs = network(Tensor(images))
    return [output.asnumpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def sample_images(size, count=2):
    """A fixed batch of noise to compare networks on: (count, 3, size, size) float32."""
    return np.random.default_rng(0).standard_normal((count, 3, size, size)).astype(np.float32)


def relative_difference(found, expected):
    """Largest difference over the root mean square of what is expected, both over lists of arrays."""
    return max(
        float(np.max(np.abs(a.astype(np.float64) - b)) / max(np.sqrt(np.mean(np.square(b, dtype=np.float64))), 1e-30))
        for a, b in zip(found, expected)
    )
