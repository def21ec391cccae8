"""Every recipe that the project ships: it parses, its task is there, and its network can be built at tiny size."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mindbyol import tasks
from mindbyol.config import parse_args
from mindbyol.runtime import World
from mindbyol.training.plan import Plan
from tests import tiny_model  # noqa: F401  (registers the model)
from tests.scenes import write_scenes
from tests.tasks.classifiers import write_backbone

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "configs").rglob("*.yaml"))
# Other networks and images than the recipe's, so that building takes no time; what remains is the recipe's.
TINY = ["--dataset", "digits", "--train_split", "train", "--val_split", "val", "--model", "resnet18"]
TINY += [
    "--image_resize",
    "32",
    "--batch_size",
    "8",
    "--effective_batch",
    "64",
    "--gradient_accumulation_steps",
    "auto",
]
TINY += ["--projector_hidden_size", "8", "--projection_size", "8", "--predictor_hidden_size", "8"]
TINY += ["--stages", "1", "--device_target", "CPU", "--num_classes", "10", "--holdout", "0"]
TINY += ["--amp_dtype", "float16"]  # CPUs have no other

# Tasks that train on maps have all stages and data of their own; see `scenes`.
DENSE = {
    "segmentation": "--dataset voc12_segmentation --train_split train --val_split val --test_stride 48".split(),
    "detection": "--dataset voc_detection --train_split 2012_train --val_split 2012_val".split(),
}
WITH_MASKS = "--warmup_steps 0 --dataset coco --train_split train2017 --val_split val2017 --pyramid_channels 8".split()
DENSE_FLAGS = "--model tiny_resnet --stages 4 --image_resize 48 --device_target CPU --amp_dtype float16".split()
DENSE_FLAGS += "--batch_size 2 --effective_batch 16 --gradient_accumulation_steps auto".split()

# BYOL needs no weights of a ResNet: a network that is made in no time.
WITHOUT_WEIGHTS = "--model tiny --stages 4 --stem imagenet --padding mindcv".split()


def tiny_flags(keys):
    """Those of `TINY` that a recipe with these keys takes."""
    starts = [place for place, word in enumerate(TINY) if word.startswith("--")]
    flags = [TINY[start:end] for start, end in zip(starts, [*starts[1:], len(TINY)])]
    return [word for flag in flags if flag[0][2:] in keys for word in flag]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Weights for tasks that train on top of some."""
    path = tmp_path_factory.mktemp("backbone") / "resnet18.ckpt"
    write_backbone(path, "resnet18", stages=1, image_size=32)
    return str(path)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Composed scenes for tasks that train on maps."""
    return str(write_scenes(tmp_path_factory.mktemp("scenes") / "stamps", train=64, val=2, size=48))


class Source(SimpleNamespace):
    def __len__(self):
        return len(self.labels)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_builds_at_tiny_size(path, request):
    command = "train" if hasattr(tasks.load(path.parent.name), "Training") else "validate"
    recipe = parse_args(["-c", str(path)], command)
    assert recipe.task == path.parent.name  # configs/<task>/
    if command == "train":
        if recipe.task in DENSE:
            scenes = request.getfixturevalue("scenes")
            flags = [*DENSE[recipe.task], *DENSE_FLAGS, "--data_dir", scenes]
            if recipe.values.get("detector") == "mask_rcnn_fpn":
                pytest.importorskip("pycocotools", reason="requirements-dense.txt is not installed")
                flags += [*WITH_MASKS, "--data_dir", f"{scenes}/coco"]
        else:
            backbone = request.getfixturevalue("backbone")
            weights = WITHOUT_WEIGHTS if recipe.task == "byol" else ["--ckpt_path", backbone]
            flags = [*tiny_flags(recipe.keys), *weights]
        tiny = parse_args(["-c", str(path), *flags])
        training = tasks.load(recipe.task).Training(tiny, World("CPU"))
        step = training.build(Plan(tiny, len(training.source)))
        assert set(training.shown) <= {"loss", *step.statistics} and step.accumulation == 8


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_scores_data_of_its_kind(path):
    recipe = parse_args(["-c", str(path)], "validate")
    protocol = tasks.load(recipe.task)
    if not hasattr(protocol, "check_data") or hasattr(protocol, "Training"):
        return  # a suite has no data of its own, and others score what they have trained: see their own tests
    labels = np.arange(40_000, dtype=np.int32) % 10
    if recipe.dataset == "voc":
        labels = np.eye(10, dtype=np.int8)[labels]
    roles = protocol.splits(recipe)
    known = {"labels": labels, "class_names": list("0123456789")}
    protocol.check_data(recipe, {role: Source(description=f"40000 images, {role}", **known) for role in roles})
