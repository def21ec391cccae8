"""The golden files' fill rule, and Haiku's names and layouts turned into MindCV's."""

import json
import re
from pathlib import Path

import numpy as np

from tests.weights.fill import rng

GOLDEN = Path(__file__).parent / "golden"
MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
STD = np.array([0.229, 0.224, 0.225], np.float32) * 255


def load(name):
    return np.load(GOLDEN / name, allow_pickle=False)


def config(golden):
    return json.loads(str(golden["config_json"]))


def shapes(golden, key):
    return [tuple(int(n) for n in str(shape).split(",")) for shape in golden[key]]


def fill_param(case_seed, role, path, shape):
    z = rng(f"{case_seed}:{role}/{path}").standard_normal(shape)
    name = path.rsplit("/", 1)[1]
    if name == "w":
        z = z * np.sqrt(2.0 / np.prod(shape[:-1]))
    elif name == "scale":
        z = 1.0 + 0.1 * z
    else:
        z = 0.1 * z
    return z.astype(np.float32)


def fill_bn_state(case_seed, path, shape):
    z = rng(f"{case_seed}:online/{path}").standard_normal(shape)
    return (0.1 * z if "/mean_ema/" in path else 1.0 + 0.1 * np.abs(z)).astype(np.float32)


def images(case_seed, tag, shape):
    """NHWC, in [0, 1)."""
    return rng(f"{case_seed}:{tag}").random(shape).astype(np.float32)


def labels(case_seed, tag, n, num_classes):
    return rng(f"{case_seed}:{tag}").integers(0, num_classes, n).astype(np.int32)


def ours(path):
    """Haiku path of a parameter or running statistic -> name below `online.` or `target.`; heads and probe as they are.

    `res_net18/~/block_group_0/~/block_1/~/conv_0/w` -> `backbone.layer1.1.conv1.weight`
    """
    path = path.replace("/~/mean_ema/average", "/mean").replace("/~/var_ema/average", "/variance")
    module, leaf = path.rsplit("/", 1)
    norm = "norm" in module
    leaf = {
        "w": "weight",
        "b": "bias",
        "scale": "gamma",
        "offset": "beta",
        "mean": "moving_mean",
        "variance": "moving_variance",
    }[leaf]
    head = re.match(r"(projector|predictor)/(linear|batch_norm|linear_1)$", module)
    if head:
        return f"{head[1]}.{dict(linear='fc0', batch_norm='bn0', linear_1='fc1')[head[2]]}.{leaf}"
    if module == "classifier":
        return f"probe.{leaf}"
    if module.endswith(("/~/initial_conv", "/~/initial_batchnorm")):
        return f"backbone.{'bn1' if norm else 'conv1'}.{leaf}"
    group, block, layer = re.search(r"block_group_(\d)/~/block_(\d+)/~/(\w+)$", module).groups()
    if layer.startswith("shortcut"):
        layer = f"down_sample.{int(norm)}"
    else:
        layer = ("bn" if norm else "conv") + str(int(layer[-1]) + 1)
    return f"backbone.layer{int(group) + 1}.{block}.{layer}.{leaf}"


def to_ours(value):
    """Haiku's HWIO, (in, out) and (1, 1, 1, C) to OIHW, (out, in) and (C,)."""
    if value.ndim == 4 and value.shape[:3] != (1, 1, 1):
        return value.transpose(3, 2, 0, 1)
    if value.ndim == 4 or (value.ndim == 2 and value.shape[0] == 1):
        return value.reshape(-1)
    return value.T if value.ndim == 2 else value


def to_haiku(value, shape):
    if len(shape) == 4 and shape[:3] != (1, 1, 1):
        return value.transpose(2, 3, 1, 0)
    if len(shape) == 2 and shape[0] != 1:
        return value.T
    return value.reshape(shape)


def summary(case_seed, path, value):
    """l2, first 8 values and a random projection of an array in Haiku's layout, as the golden files store them."""
    flat = value.astype(np.float64).ravel()
    first = np.full(8, np.nan)
    first[: min(8, flat.size)] = flat[:8]
    dot = np.sum(flat * rng(f"{case_seed}:dot/{path}").standard_normal(flat.size))
    return np.sqrt(np.sum(flat**2)), first, dot
