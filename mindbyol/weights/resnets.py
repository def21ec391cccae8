"""MindCV's ResNets told from their weights, and the shapes of theirs without building them."""

import re

# name: (bottleneck blocks, blocks of the stages, groups, width of a group at 64 channels)
RESNETS = {
    "resnet18": (False, (2, 2, 2, 2), 1, 64),
    "resnet34": (False, (3, 4, 6, 3), 1, 64),
    "resnet50": (True, (3, 4, 6, 3), 1, 64),
    "resnet101": (True, (3, 4, 23, 3), 1, 64),
    "resnet152": (True, (3, 8, 36, 3), 1, 64),
    "resnext50_32x4d": (True, (3, 4, 6, 3), 32, 4),
    "resnext101_32x4d": (True, (3, 4, 23, 3), 32, 4),
    "resnext101_64x4d": (True, (3, 4, 23, 3), 64, 4),
    "resnext152_64x4d": (True, (3, 8, 36, 3), 64, 4),
}


def resnet_name(shapes):
    """Finds which of MindCV's ResNets some weights belong to.

    Args:
        shapes (dict): MindCV's name to shape.

    Returns:
        str: Name for `mindcv.create_model`.

    Raises:
        ValueError: None of them.
    """
    blocks = [0, 0, 0, 0]
    for name in shapes:
        stage = re.match(r"layer([1-4])\.(\d+)\.", name)
        if stage:
            blocks[int(stage[1]) - 1] = max(blocks[int(stage[1]) - 1], int(stage[2]) + 1)
    bottleneck, inner = "layer1.0.conv3.weight" in shapes, shapes.get("layer1.0.conv2.weight")
    for name, (deep, stages, groups, width) in RESNETS.items():
        if (deep, stages, (groups * width, width, 3, 3)) == (bottleneck, tuple(blocks), inner):
            return name
    raise ValueError(
        f"stages of {blocks} blocks with 3x3 convolutions of {inner} are no ResNet or ResNeXt that MindCV has; "
        "if it is another of MindCV's networks, name it with --model"
    )


def resnet_shapes(model, stem, stages=4):
    """Parameters of a ResNet without classifier.

    Args:
        model (str): One of `RESNETS`.
        stem (str): `imagenet` or `small`.
        stages (int): Of the four, how many there are.

    Returns:
        tuple: {MindCV's name: shape}, number of features.
    """
    bottleneck, blocks, groups, group_width = RESNETS[model]
    shapes = {}

    def convolution(conv, norm, outputs, inputs, kernel):
        shapes[f"{conv}.weight"] = (outputs, inputs, kernel, kernel)
        shapes.update({f"{norm}.{kind}": (outputs,) for kind in ("moving_mean", "moving_variance", "gamma", "beta")})

    convolution("conv1", "bn1", 64, 3, 7 if stem == "imagenet" else 3)
    inputs = 64
    for stage, count in enumerate(blocks[:stages]):
        channels = 64 << stage
        outputs = channels * (4 if bottleneck else 1)
        width = channels * groups * group_width // 64
        for block in range(count):
            at = f"layer{stage + 1}.{block}"
            if bottleneck:
                convolution(f"{at}.conv1", f"{at}.bn1", width, inputs, 1)
                convolution(f"{at}.conv2", f"{at}.bn2", width, width // groups, 3)
                convolution(f"{at}.conv3", f"{at}.bn3", outputs, width, 1)
            else:
                convolution(f"{at}.conv1", f"{at}.bn1", outputs, inputs, 3)
                convolution(f"{at}.conv2", f"{at}.bn2", outputs, outputs, 3)
            if block == 0 and (stage > 0 or inputs != outputs):
                convolution(f"{at}.down_sample.0", f"{at}.down_sample.1", outputs, inputs, 1)
            inputs = outputs
    return shapes, inputs
