"""Where the stages of MindCV's models begin and end: names of the cells that are run, in order, up to each map.

A model has a stem (stride 2; 4 where it cuts patches) and four stages (strides 4, 8, 16, 32). The max-pool behind a
stem belongs to stage 1. What normalises the last map before it is pooled belongs to stage 4.
"""

from mindcv.models.convnext import ConvNeXt
from mindcv.models.densenet import DenseNet
from mindcv.models.efficientnet import EfficientNet
from mindcv.models.mnasnet import Mnasnet
from mindcv.models.mobilenetv1 import MobileNetV1
from mindcv.models.mobilenetv2 import MobileNetV2
from mindcv.models.mobilenetv3 import MobileNetV3
from mindcv.models.poolformer import PoolFormer
from mindcv.models.regnet import RegNet
from mindcv.models.res2net import Res2Net
from mindcv.models.resnest import ResNeSt
from mindcv.models.resnet import ResNet
from mindcv.models.senet import SENet
from mindcv.models.swintransformer import SwinTransformer
from mindcv.models.swintransformerv2 import SwinTransformerV2
from mindspore import nn

MAP_NAMES = ("stem", "stage1", "stage2", "stage3", "stage4")


def _cells(parent, first, end):
    return tuple(f"{parent}.{index}" for index in range(first, end))


_SWIN = (
    ("patch_embed", "pos_drop"),
    ("layers.0.blocks",),
    ("layers.0.downsample", "layers.1.blocks"),
    ("layers.1.downsample", "layers.2.blocks"),
    ("layers.2.downsample", "layers.3.blocks", "norm"),
)

_STAGES = {
    ResNet: (("conv1", "bn1", "relu"), ("max_pool", "layer1"), ("layer2",), ("layer3",), ("layer4",)),
    Res2Net: (("conv1", "bn1", "relu"), ("max_pool", "layer1"), ("layer2",), ("layer3",), ("layer4",)),
    ResNeSt: (("conv1", "bn1", "relu"), ("maxpool", "layer1"), ("layer2",), ("layer3",), ("layer4",)),
    SENet: (("layer0",), ("pool0", "layer1"), ("layer2",), ("layer3",), ("layer4",)),
    RegNet: (("stem",), ("stages.0",), ("stages.1",), ("stages.2",), ("stages.3",)),
    DenseNet: (
        ("features.conv0", "features.norm0", "features.relu0"),
        ("features.pool0", "features.denseblock1"),
        ("features.transition1", "features.denseblock2"),
        ("features.transition2", "features.denseblock3"),
        ("features.transition3", "features.denseblock4", "features.norm5", "features.relu5"),
    ),
    ConvNeXt: (
        ("feature.0",),
        ("feature.1",),
        ("feature.2", "feature.3"),
        ("feature.4", "feature.5"),
        ("feature.6", "feature.7"),
    ),
    PoolFormer: (
        ("patch_embed",),
        ("network.0",),
        ("network.1", "network.2"),
        ("network.3", "network.4"),
        ("network.5", "network.6", "norm"),
    ),
    MobileNetV1: (
        _cells("features", 0, 4),
        _cells("features", 4, 6),
        _cells("features", 6, 8),
        _cells("features", 8, 14),
        _cells("features", 14, 16),
    ),
    Mnasnet: (
        _cells("features", 0, 8),
        _cells("features", 8, 11),
        _cells("features", 11, 14),
        _cells("features", 14, 19),
        _cells("features", 19, 27),
    ),
    SwinTransformer: _SWIN,
    SwinTransformerV2: _SWIN,
}

# Their `feature_info` names the stride behind each cell of `features`, the one cell that `forward_features` runs.
_BY_STRIDE = (MobileNetV2, MobileNetV3, EfficientNet)


def find_stages(model):
    """Names of the cells of a MindCV model that are run, in order, from each map to the next.

    Args:
        model (Cell): As MindCV creates it.

    Returns:
        tuple[tuple[str]]: For each of `MAP_NAMES`; empty where the stages cannot be told.
    """
    if isinstance(model, _BY_STRIDE):
        return _stages_by_stride(model.feature_info)
    return next((stages for kind, stages in _STAGES.items() if isinstance(model, kind)), ())


def _stages_by_stride(feature_info):
    """A stage ends with the last cell of each stride."""
    last = {info["reduction"]: int(info["name"].rpartition(".")[2]) for info in feature_info}
    ends = [last[stride] + 1 for stride in (2, 4, 8, 16, 32)]
    return tuple(_cells("features", first, end) for first, end in zip([0, *ends], ends))


def cells_at(model, names):
    """The cells of a model by name; of a list of cells (`nn.CellList`), all that are in it, in order.

    Args:
        model (Cell): As MindCV creates it, or with other cells in the place of some.
        names (tuple[str]): As `find_stages` gives them.

    Returns:
        tuple[Cell]: To be run one after the other.
    """
    cells = []
    for name in names:
        cell = model
        for part in name.split("."):
            cell = cell.name_cells()[part]
        cells += cell if isinstance(cell, nn.CellList) else [cell]
    return tuple(cells)
