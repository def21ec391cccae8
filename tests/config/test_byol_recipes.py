"""BYOL's recipes as they are run: images a step, steps, learning rate, tau and weight decay, worked out by hand."""

from pathlib import Path
from typing import NamedTuple

import pytest

import mindspore as ms
from mindspore import Tensor

from mindbyol.config import parse_args
from mindbyol.pretraining import create_byol, create_train_step
from mindbyol.training.plan import Plan
from tests import tiny_model  # noqa: F401  (registers the model)

RECIPES = Path(__file__).parents[2] / "configs/byol"
IMAGENET = 1_281_167


class Facts(NamedTuple):
    """What a recipe does with so many images on so many devices.

    `middle` is the learning rate halfway between the end of the warm-up and the end of the run: half the peak, but
    where the rate changes once an epoch.
    """

    images: int
    devices: int
    batch: int  # images an optimizer step
    accumulated: int
    warmup: int  # steps: floor(warm-up epochs * images / batch)
    steps: int  # epochs * floor(images / batch)
    peak: float  # base_lr * batch / 256
    middle: float
    tau: float
    decay: float
    rule: str = "deepmind"


# DeepMind's presets: configs/byol.py; 300 epochs of them also in the paper, 1000 in its section 3.3. mmselfsup's:
# configs/selfsup/byol of 0.x. Imagenette: DeepMind's README. The middle of stairs, 200 epochs: step 32763 is in epoch
# 105, 312 * 105 = 32760, 2.4 * (1 + cos(pi * (32760 - 3127) / (62400 - 3127))); 300 epochs: step 48363, epoch 155.
FACTS = {
    "byol_resnet50_imagenet_40e_ascend": Facts(IMAGENET, 8, 4096, 4, 3127, 12_480, 7.2, 3.6, 0.97, 1e-6),
    "byol_resnet50_imagenet_100e_ascend": Facts(IMAGENET, 8, 4096, 4, 3127, 31_200, 7.2, 3.6, 0.99, 1e-6),
    "byol_resnet50_imagenet_300e_ascend": Facts(IMAGENET, 8, 4096, 4, 3127, 93_600, 4.8, 2.4, 0.99, 1e-6),
    "byol_resnet50_imagenet_300e_ascend910b": Facts(IMAGENET, 8, 4096, 2, 3127, 93_600, 4.8, 2.4, 0.99, 1e-6),
    "byol_resnet50_imagenet_300e_gpu": Facts(IMAGENET, 8, 4096, 4, 3127, 93_600, 4.8, 2.4, 0.99, 1e-6),
    "byol_resnet50_imagenet_1000e_ascend": Facts(IMAGENET, 8, 4096, 4, 3127, 312_000, 3.2, 1.6, 0.996, 1.5e-6),
    "byol_resnet50_8xb32-accum16-coslr-200e_in1k_ascend": Facts(
        IMAGENET, 8, 4096, 16, 3127, 62_400, 4.8, 2.400445, 0.99, 1e-6, "mmcv"
    ),
    "byol_resnet50_8xb32-accum16-coslr-300e_in1k_ascend": Facts(
        IMAGENET, 8, 4096, 16, 3127, 93_600, 4.8, 2.400292, 0.99, 1e-6, "mmcv"
    ),
    "byol_resnet50_16xb256-coslr-200e_in1k_ascend": Facts(
        IMAGENET, 16, 4096, 1, 3127, 62_400, 4.8, 2.400445, 0.99, 1e-6, "mmcv"
    ),
    "byol_resnet18_imagenette": Facts(9_469, 1, 256, 1, 369, 36_000, 2.0, 1.0, 0.996, 1e-6),
    "byol_resnet18_imagenet100": Facts(126_689, 1, 256, 1, 4948, 197_600, 1.0, 0.5, 0.99, 1e-6),
    "byol_resnet18_cifar10": Facts(50_000, 1, 256, 1, 1953, 156_000, 1.0, 0.5, 0.99, 1e-5),
    "byol_resnet18_stl10": Facts(100_000, 1, 256, 1, 3906, 78_000, 0.3, 0.15, 0.99, 1e-6),
    "byol_resnet18_stl10_10e": Facts(100_000, 1, 256, 1, 390, 3_900, 0.3, 0.15, 0.99, 1e-6),
    "byol_resnet18_folder_1k": Facts(1_000, 1, 64, 1, 156, 4_500, 0.5, 0.25, 0.98, 1e-6),
    "byol_resnet18_folder_10k": Facts(10_000, 1, 128, 1, 781, 11_700, 1.0, 0.5, 0.99, 1e-6),
    "byol_resnet50_folder_100k": Facts(100_000, 1, 256, 1, 3906, 39_000, 1.0, 0.5, 0.99, 1e-6),
    "byol_resnet50_folder_1m": Facts(1_000_000, 8, 4096, 4, 2441, 24_400, 7.2, 3.6, 0.99, 1e-6),
    "byol_resnet18_digits_cpu": Facts(1_442, 1, 32, 1, 90, 1_800, 1.5, 0.75, 0.98, 1e-6),
    "byol_resnet18_fashion_mnist_cpu": Facts(60_000, 1, 32, 1, 93, 1_875, 1.5, 0.75, 0.98, 1e-6),
}
TINY = "--model tiny --stages 4 --stem imagenet --padding mindcv --image_resize 16 --amp_level O0".split()
TINY += "--projector_hidden_size 4 --projection_size 4 --predictor_hidden_size 4".split()


@pytest.fixture
def pynative():
    ms.set_context(mode=ms.PYNATIVE_MODE)


def test_every_recipe_has_its_facts():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == FACTS.keys()


@pytest.mark.parametrize("name", FACTS)
def test_a_run_follows_the_facts(name, pynative):
    facts, path = FACTS[name], RECIPES / f"{name}.yaml"
    recipe = parse_args(["-c", str(path), *TINY])
    plan = Plan(recipe, facts.images, facts.devices)
    assert (plan.effective_batch, plan.accumulation) == (facts.batch, facts.accumulated)
    assert (plan.warmup_steps, plan.total_steps) == (facts.warmup, facts.steps)
    assert f"{facts.steps:,} = " in path.read_text() and f"{facts.warmup:,}" in path.read_text()  # the run book

    step = create_train_step(recipe, create_byol(recipe, num_classes=2), plan)
    update = step._cells[0].update
    halfway, middle = facts.steps // 2, (facts.warmup + facts.steps) / 2
    rates = {0: 0.0, facts.warmup / 2: facts.peak / 2, facts.warmup: facts.peak, middle: facts.middle, facts.steps: 0.0}
    for at, rate in rates.items():
        assert float(update.schedule(Tensor(at, ms.float32))) == pytest.approx(rate, rel=1e-5, abs=1e-6), at
    for at, tau in {0: facts.tau, halfway: (1 + facts.tau) / 2, facts.steps: 1.0}.items():
        assert float(update.after.scalar(Tensor(at, ms.int32))) == pytest.approx(tau, abs=2e-5), at

    lars = step.optimizer
    assert lars.decay == facts.decay and lars.rule == facts.rule and lars.trust_coefficient == 1e-3
    assert float(lars.momentum) == pytest.approx(0.9)
    left_out = {p.name for p, excluded in zip(lars.parameters, lars.excluded) if excluded}
    assert left_out == {p.name for p in lars.parameters if p.name.endswith((".gamma", ".beta", ".bias"))}


@pytest.mark.parametrize("name", [name for name in FACTS if "_folder_" in name])
def test_the_page_of_own_images_has_the_numbers_of_its_recipes(name):
    facts, recipe = FACTS[name], parse_args(["-c", str(RECIPES / f"{name}.yaml")])
    page = (RECIPES.parents[1] / "docs/own_images.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")][2:]
    network = f"ResNet-{recipe.model[6:]}, {recipe.image_resize} px"
    rates = f"{recipe.base_lr}, {facts.peak}"
    numbers = [str(recipe.epoch_size), f"{facts.steps:,}", str(facts.batch), rates, f"{facts.tau}"]
    assert cells == [network, *numbers, str(recipe.projector_hidden_size)]
