"""Any MindCV model as a feature extractor: images in; out, one vector an image, or the maps of its stages.

Parameters are named by their place in the network (`conv1.weight`, `layer1.0.bn1.gamma`, ...). For most models these
are MindCV's names, too; where they are not, `mindcv_names` has those, and a backbone's checkpoint is written with them,
so that it loads with `mindcv.create_model(name, checkpoint_path=...)`.
"""

import difflib

import numpy as np

import mindcv
from mindcv.models.resnet import ResNet
from mindcv.models.swintransformer import SwinTransformer
from mindcv.models.swintransformerv2 import SwinTransformerV2
from mindspore import Tensor, nn, ops

from mindbyol.model_card import PADDINGS, STEMS
from mindbyol.runtime import pynative
from mindbyol.stages import MAP_NAMES, cells_at, find_stages

_EXAMPLES = "resnet18, resnet50, mobilenet_v3_small_100, densenet121, swin_tiny, vit_b_32_224"

# No layer of a real model has this many outputs: what has is the classifier.
_SENTINEL_CLASSES = 11987


class Backbone:
    """What `create_backbone` adds to the class of a MindCV model.

    Attributes:
        num_features (int): Numbers a pooled feature has.
        dropped (list[str]): Children of MindCV's model that are left out.
        mindcv_names (dict[str, str]): Name of a parameter to MindCV's name for it, where they differ.
        map_names (tuple[str]): `stem`, `stage1`, ... in the order of `maps`.
        map_channels (tuple[int]): Channels of each map; measured with a forward pass at the first use where weights do
            not tell them.
        map_sides (tuple[int]): Side of each map, of images of the size that the backbone was created for; measured at
            the first use.
    """

    def construct(self, images):
        """(N, 3, H, W) to pooled features (N, num_features)."""
        return _pool(self.forward_features(images))

    def maps(self, images, first=0, end=None):
        """The map behind the stem and behind each stage, or some of them; may be called in a compiled graph.

        A graph may hold one pass over some images, not two: MindCV's residual blocks add in place, so where MindSpore
        merges equal operations, two passes over the same images are wrong. Pool a map for features beside maps.

        Args:
            images (Tensor): (N, 3, H, W) float, normalised; where `first` is not the stem, the map before it.
            first, end (int): Places in `map_names`: from `first` on and before `end`, by default to the last.

        Returns:
            tuple[Tensor]: (N, C, H, W) each, in the order of `map_names`. A ResNet's stem ends before its max-pool.

        Raises:
            ValueError: The stages of this model cannot be told. `map_names`, `map_channels` and `map_sides` raise it,
                too.
        """
        x, maps = images, ()
        for cells in self._cells_of_stages[first:end]:
            for cell in cells:
                x = cell(x)
            maps += (_square(x) if x.ndim == 3 else x,)
        return maps

    def cells_up_to(self, stage):
        """The cells of the stem and of the stages up to one.

        Args:
            stage (int): 0 for the stem alone.

        Returns:
            tuple[Cell]: In the order in which they are run.

        Raises:
            ValueError: There is no such stage, or the stages of this model cannot be told.
        """
        if stage >= len(self.map_names):
            raise ValueError(
                f"frozen_stages: {stage} asked for, but this '{self._model}' has the stages 0 (the stem) to "
                f"{len(self.map_names) - 1}"
            )
        return tuple(cell for cells in self._cells_of_stages[: stage + 1] for cell in cells)

    @property
    def map_names(self):
        return MAP_NAMES[: len(self._told_stages())]

    @property
    def map_channels(self):
        self._told_stages()
        if self._map_channels is None:
            _measure_widths(self, self._image_size)
        return self._map_channels

    @property
    def map_sides(self):
        self._told_stages()
        if self._map_sides is None:
            _measure_widths(self, self._image_size)
        return self._map_sides

    @property
    def _cells_of_stages(self):
        """Looked up at each call or compilation: layers may have been replaced since the network was made."""
        return tuple(cells_at(self, names) for names in self._told_stages())

    def _told_stages(self):
        if not self._stage_cells:
            raise ValueError(
                f"model: '{self._model}' has no stages that could be told; those of resnet50, densenet121, swin_tiny, "
                "convnext_tiny and mobilenet_v3_small_100, among others, can be"
            )
        return self._stage_cells


def _pool(features):
    if features.ndim == 4:  # (N, C, H, W)
        return ops.mean(features, (2, 3))
    if features.ndim == 3:  # (N, tokens, C)
        return ops.mean(features, 1)
    return features


def _square(tokens):
    """(N, side * side, C) to (N, C, side, side)."""
    batch, count, channels = tokens.shape
    side = int(count**0.5)
    return tokens.transpose(0, 2, 1).reshape(batch, channels, side, side)


class _PaddedMaxPool(nn.Cell):
    """3x3 stride 2 max-pool with one row and column of padding all round, as PyTorch's ResNets have it.

    The zeros are as good as -inf because the pool stands behind a ReLU.
    """

    def __init__(self):
        super().__init__()
        self.pad = nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="valid")

    def construct(self, x):
        return self.pool(self.pad(x))


def create_backbone(model, stem="imagenet", padding="mindcv", image_size=224, stages=4):
    """Builds a MindCV model without its classifier: called, it gives one vector an image, pooled over positions.

    Args:
        model (str): A name of `mindcv.list_models()` whose `forward_features` gives one map, vector or token sequence.
        stem (str): `imagenet`, the model's own; `small`, a 3x3 stride 1 convolution and no max-pool in the place of
            a ResNet's 7x7 stride 2 and pool, for images of up to about 64 pixels.
        padding (str): `mindcv`, as MindCV has it; `torch`, the max-pool padded as in PyTorch's ResNets; `same`,
            strided convolutions padded as in TensorFlow and DeepMind's ResNets. Weights trained with one of them are
            exact with that one only. ResNets only.
        image_size (int): Side of the images, in pixels.
        stages (int): How many of a ResNet's four stages are kept, from the input on; fewer for quick runs on small
            images.

    Returns:
        Cell: MindCV's own, with the methods and attributes of `Backbone`. Widths are those of its weights, so that no
            operator runs on the device; where these do not tell them, a forward pass does.

    Raises:
        ValueError: The model is unknown, gives no usable features, has no such stem or padding variant, or the images
            are too small for it.
    """
    if not mindcv.is_model(model):
        near = difflib.get_close_matches(model, mindcv.list_models(), n=3)
        raise ValueError(f"model: MindCV has no '{model}'; {'nearest: ' + ', '.join(near) if near else _EXAMPLES}")
    unusable = f"model: '{model}' cannot be used as a backbone: %s. Among those that can: {_EXAMPLES}"
    try:
        backbone = mindcv.create_model(model, num_classes=_SENTINEL_CLASSES)
    except Exception as error:  # whatever a broken model raises
        raise ValueError(unusable % f"MindCV fails to create it ({_first_line(error)})") from error
    if not hasattr(backbone, "forward_features"):
        raise ValueError(unusable % "it has no forward_features")

    heads = _remove_classifier(backbone)
    _name_by_place(backbone)
    backbone._model = model
    backbone._image_size = image_size
    backbone._stage_cells = find_stages(backbone)
    _set_stem(backbone, model, stem)
    _set_padding(backbone, model, padding)
    _set_stages(backbone, model, stages)
    # The model itself becomes the backbone, so that its parameters keep MindCV's names: a cell around it would put a
    # prefix before them. MindCV's functions choose the class of what they create, so it is changed afterwards.
    backbone.__class__ = type(type(backbone).__name__, (Backbone, type(backbone)), {})
    if _read_widths(backbone, heads, image_size, stages):
        return backbone.set_train(True)
    try:
        _measure_widths(backbone, image_size)
    except Exception as error:
        try:
            _measure_widths(backbone, 224)
        except Exception as error_at_224:
            raise ValueError(unusable % _first_line(error_at_224)) from error
        raise ValueError(
            f"image_resize: '{model}' takes no images of {image_size} pixels, but of 224 ({_first_line(error)})"
        ) from error
    return backbone.set_train(True)


def _first_line(error):
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _remove_classifier(backbone):
    """Drops each top-level child that ends in class scores, auxiliary classifiers included, and returns them."""
    children = backbone.name_cells().items()
    heads = {
        name: child
        for name, child in sorted(children)
        if any(_SENTINEL_CLASSES in p.shape for p in child.get_parameters())
    }
    backbone.dropped = list(heads)
    for name in heads:
        setattr(backbone, name, nn.Identity())
    return list(heads.values())


def _name_by_place(backbone):
    """Names each parameter as a network around the backbone would.

    MindCV's own names miss a part (Swin, RegNet: `0.blocks.0...` for `layers.0.blocks.0...`) where cells were appended
    to a list that had its place already.
    """
    parameters = list(backbone.parameters_and_names())
    backbone.mindcv_names = {place: p.name for place, p in parameters if p.name != place}
    for place, parameter in parameters:
        parameter.name = place


def _set_stem(backbone, model, stem):
    if stem == "imagenet":
        return
    if stem not in STEMS:
        raise ValueError(f"stem: '{stem}' is none of {', '.join(STEMS)}")
    if not isinstance(backbone, ResNet):
        raise ValueError(f"stem: small is for MindCV's ResNets and ResNeXts, not for '{model}'")
    first = backbone.conv1
    backbone.conv1 = nn.Conv2d(
        first.in_channels, first.out_channels, 3, stride=1, pad_mode="pad", padding=1, weight_init="HeNormal"
    )
    backbone.max_pool = nn.Identity()


def _set_stages(backbone, model, stages):
    if stages == 4:
        return
    if stages not in (1, 2, 3):
        raise ValueError(f"stages: {stages} is none of 1, 2, 3, 4")
    if not isinstance(backbone, ResNet):
        raise ValueError(f"stages: {stages} is for MindCV's ResNets and ResNeXts, not for '{model}'")
    left_out = [f"layer{stage}" for stage in range(stages + 1, 5)]
    for name in left_out:
        setattr(backbone, name, nn.Identity())
    backbone.dropped += left_out
    backbone._stage_cells = backbone._stage_cells[: stages + 1]


def _set_padding(backbone, model, padding):
    if padding == "mindcv":
        return
    if padding not in PADDINGS:
        raise ValueError(f"padding: '{padding}' is none of {', '.join(PADDINGS)}")
    if not isinstance(backbone, ResNet):
        raise ValueError(f"padding: {padding} is for MindCV's ResNets and ResNeXts, not for '{model}'")
    if padding == "torch":
        if isinstance(backbone.max_pool, nn.MaxPool2d):
            backbone.max_pool = _PaddedMaxPool()
        return
    for _, parent in list(backbone.cells_and_names()):  # MindCV's max-pool is 'same' already
        for name, cell in list(parent.name_cells().items()):
            if isinstance(cell, nn.Conv2d) and cell.stride != (1, 1) and cell.kernel_size != (1, 1):
                setattr(parent, name, _same_convolution(cell))


def _same_convolution(conv):
    same = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, stride=conv.stride, pad_mode="same", group=conv.group
    )
    same.weight.set_data(conv.weight)
    return same


def _read_widths(backbone, heads, image_size, stages):
    """Sets `num_features`, and of a ResNet `map_channels`, to what the weights say.

    The first layer of the classifier is as wide as what it classifies: the pooled features in the families whose stages
    are known. Others (GhostNet) have layers between. That the images are not too small is known, too: a ResNet takes
    any, the others what can be halved five times; Swin's windows fit some sizes only.

    Args:
        backbone (Backbone): Without its classifier.
        heads (list[Cell]): What was taken away.
        image_size (int): Side of the images, in pixels.
        stages (int): How many stages were kept.

    Returns:
        bool: Whether they tell it.
    """
    backbone._map_channels = backbone._map_sides = None
    is_resnet = isinstance(backbone, ResNet)
    fits = is_resnet or (image_size >= 64 and image_size % 32 == 0)
    swin = isinstance(backbone, (SwinTransformer, SwinTransformerV2))
    if swin or not fits or not backbone._stage_cells or len(heads) != 1:
        return False
    width = next(p.shape[1] for p in heads[0].get_parameters() if p.ndim > 1)
    if is_resnet:  # each stage is twice as wide as the one before
        widths = [width // 2 ** (4 - stage) for stage in range(1, stages + 1)]
        width = widths[-1]
        backbone._map_channels = (backbone.conv1.weight.shape[0], *widths)
    backbone.num_features = width
    return True


def _measure_widths(backbone, image_size):
    """Sets `num_features`, `map_channels` and `map_sides` to what a forward pass gives; nothing else changes."""
    images = Tensor(np.zeros((1, 3, image_size, image_size), np.float32))
    training = [(cell, cell.training) for _, cell in backbone.cells_and_names()]
    with pynative():
        features = backbone.set_train(False).forward_features(images)
        if not isinstance(features, Tensor):
            raise ValueError("its forward_features gives several maps")
        if 0 in features.shape:
            raise ValueError("nothing is left of the map")
        backbone.num_features = int(_pool(features).shape[-1])
        if backbone._stage_cells:
            maps = backbone.maps(images)
            backbone._map_channels = tuple(array.shape[1] for array in maps)
            backbone._map_sides = tuple(array.shape[2] for array in maps)
    for cell, was_training in training:  # from the outside in: `set_train` goes down to all that is within
        cell.set_train(was_training)
