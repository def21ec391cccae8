"""Running train.py and validate.py on classifiers, in this process: tiny backbones, scikit-learn's digits."""

import json

import numpy as np

import mindspore as ms

from mindbyol import checkpoint
from mindbyol.backbones import create_backbone
from mindbyol.commands import validate as command
from mindbyol.model_card import Card
from tests.tasks import tiny_train

LINEAR = {
    "task": "linear",
    "dataset": "digits",
    "model": "tiny",
    "image_resize": 16,
    "crop_pct": 1,
    "hflip": 0,
    "scale": "0.5 1",
    "num_samples": 160,
    "batch_size": 32,
    "epoch_size": 3,
    "opt": "sgd",
    "use_nesterov": True,
    "lr": 2,
    "num_parallel_workers": 1,
}
MULTIHEAD = {**LINEAR, "task": "multihead", "model": "resnet18", "lr": 0.05, "multi_step_decay_milestones": 2}


def write_backbone(path, model, stages=4, factor=4.0, image_size=16):
    """A backbone with first weights, times a factor, as train.py writes one: its arrays."""
    ms.set_seed(3)
    backbone = create_backbone(model, image_size=image_size, stages=stages)
    arrays = {p.name: p.asnumpy() * (factor if "weight" in p.name else 1) for p in backbone.get_parameters()}
    card = {"stem": "imagenet", "padding": "mindcv", "stages": stages, "image_resize": image_size}
    card.update(mean=[127.0] * 3, std=[64.0] * 3, kind="backbone", mindbyol="0", mindspore="0")
    checkpoint.write(path, arrays, Card(model=model, **card))
    return arrays


def flags(recipe):
    """A recipe as a command line; None stands for a key that is left out."""
    words = []
    for key, value in recipe.items():
        words += [] if value is None else [f"--{key}", *str(value).split()]
    return words


def train(folder, recipe, *words, **keys):
    tiny_train.main([*words, *flags({**recipe, **keys}), "--ckpt_save_dir", str(folder)])


def validate(path, recipe, folder, **keys):
    """Scores of a checkpoint, by name."""
    known = ("task", "dataset", "model", "image_resize", "crop_pct", "batch_size")
    results = folder / f"{path.stem}.jsonl"
    words = flags({**{key: recipe[key] for key in known}, **keys})
    command.main([*words, "--ckpt_path", str(path), "--results", str(results)])
    return {line["score"]: line["value"] for line in map(json.loads, results.read_text().splitlines())}


def lines(folder):
    """Those of metrics.jsonl: of training, and of scores."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if "loss" in line], [line for line in found if "loss" not in line]


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
