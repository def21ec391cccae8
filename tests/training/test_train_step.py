import os
import subprocess
import sys

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor, nn

from mindbyol.backbones import create_backbone
from mindbyol.byol import BYOL, BYOLTrainOneStep, Encoder, Normalize
from mindbyol.heads import MLP, dense
from mindbyol.training.lars import LARS
from mindbyol.training.schedules import WarmupCosine, scaled_learning_rate
from tests import reference

GOLDEN = reference.load("step_r18_certified.npz")
CONFIG = reference.config(GOLDEN)
SEED = CONFIG["case_seed"]
PATHS = [str(path) for path in GOLDEN["param_paths"]]
SHAPES = dict(zip(PATHS, reference.shapes(GOLDEN, "param_shapes")))
STATES = {
    str(p): s for p, s in zip(GOLDEN["state_paths"], reference.shapes(GOLDEN, "state_shapes")) if p.endswith("hidden")
}

# The same at all steps, four times what the golden file's own float32 run needs: (median, l2 max, other max)
LIMITS = {
    "mu": (1e-4, 5e-4, 2e-3),
    "parameters": (2e-6, 1e-5, 5e-5),
    "statistics": (5e-6, 5e-5, 1e-4),
}


def reference_network():
    """DeepMind's ResNet-18 has a projection shortcut in its first block too, MindCV's an identity."""

    def encoder():
        backbone = create_backbone("resnet18", padding="same", image_size=CONFIG["image_size"])
        backbone.layer1[0].down_sample = nn.SequentialCell(nn.Conv2d(64, 64, 1), nn.BatchNorm2d(64))
        return Encoder(backbone, MLP(512, CONFIG["projector_hidden_size"], CONFIG["projector_output_size"]))

    width = CONFIG["projector_output_size"]
    predictor = MLP(width, CONFIG["predictor_hidden_size"], width)
    normalize = Normalize(reference.MEAN, reference.STD)
    network = BYOL(encoder(), predictor, encoder(), normalize, dense(512, CONFIG["num_classes"]))
    parameters = {p.name: p for p in network.get_parameters()}
    for path in PATHS:
        for role in ("online", "target"):
            if our_name(role, path) in parameters:
                value = reference.fill_param(SEED, role, path, SHAPES[path])
                parameters.pop(our_name(role, path)).set_data(Tensor(reference.to_ours(value)))
    for name, parameter in parameters.items():  # running statistics start at 0, as Haiku's hidden state does
        assert name.endswith(("moving_mean", "moving_variance")), name
        parameter.set_data(Tensor(np.zeros(parameter.shape, np.float32)))
    return network.set_train()


def our_name(role, path):
    name = reference.ours(path)
    if name.startswith(("predictor", "probe")):
        return name if role == "online" else None
    return f"{role}.{name}"


def train_step(network):
    peak = scaled_learning_rate(CONFIG["base_learning_rate"], CONFIG["lr_batch_size"])
    optimizer = LARS(
        network.trainable_params(),
        WarmupCosine(peak, CONFIG["warmup_steps"], CONFIG["max_steps"]),
        CONFIG["momentum"],
        CONFIG["weight_decay"],
        CONFIG["eta"],
    )
    return BYOLTrainOneStep(network, optimizer, CONFIG["base_target_ema"], CONFIG["max_steps"])


def batch(step):
    shape = (CONFIG["batch_size"], CONFIG["image_size"], CONFIG["image_size"], 3)
    views = []
    for view in (1, 2):
        images = reference.images(SEED, f"view{view}:{step}", shape)
        # Moved a little, so that no ReLU of the online network and no max-pool is within rounding of a flip
        images.reshape(-1)[:: CONFIG["pixel_stride"]] = GOLDEN["pixels"][step, view - 1]
        views.append(images.transpose(0, 3, 1, 2) * 255)
    label = reference.labels(SEED, f"labels:{step}", CONFIG["batch_size"], CONFIG["num_classes"])
    return [Tensor(np.ascontiguousarray(view)) for view in views] + [Tensor(label)]


def population(name, value):
    """A running statistic with the variance of the batch itself, as Haiku keeps it.

    MindSpore's CPU kernel stores n / (n - 1) times that, as PyTorch does; n is batch size times positions.
    """
    if not name.endswith("moving_variance"):
        return value
    sides = {"backbone.bn1": 16, "layer1": 8, "layer2": 4, "layer3": 2, "layer4": 1, "bn0": 1}
    n = CONFIG["batch_size"] * next(side**2 for part, side in sides.items() if part in name)
    return value * (n - 1) / n


def check(what, rows, limits):
    """Compares summaries of arrays, each row (golden key, row index, path, value), scaled as the golden README says."""
    errors = {"l2": [], "first8": [], "dot": []}
    for key, index, path, value in rows:
        l2, first, dot = reference.summary(SEED, path, value)
        scale = GOLDEN[f"f64/{key}_l2"][index]
        errors["l2"].append(abs(l2 - scale) / scale)
        errors["dot"].append(abs(dot - GOLDEN[f"f64/{key}_dot"][index]) / scale)
        firsts = np.abs(first - GOLDEN[f"f64/{key}_first8"][index]) / (scale / np.sqrt(value.size))
        errors["first8"].append(firsts[~np.isnan(firsts)])
    median, l2_max, other_max = limits
    for kind, values in errors.items():
        values = np.hstack(values)
        assert np.median(values) < median, (what, kind, np.median(values))
        assert values.max() < (l2_max if kind == "l2" else other_max), (what, kind, values.max())


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
def test_four_steps_equal_the_reference(mode):
    ms.set_context(mode=mode)
    network = reference_network()
    step = train_step(network)
    assert step.optimizer.excluded == tuple(
        bool(GOLDEN["param_excluded"][[our_name("online", path) for path in PATHS].index(p.name)])
        for p in step.optimizer.parameters
    )
    for k in range(CONFIG["num_steps"]):
        total, (loss, _, probe_loss, accuracy, tau, lr) = step(*batch(k))
        assert float(loss) == pytest.approx(GOLDEN["f64/repr_loss"][k], rel=1e-5)
        assert float(probe_loss) == pytest.approx(GOLDEN["f64/classif_loss"][k], rel=5e-5)
        assert float(total) == pytest.approx(GOLDEN["f64/loss"][k], rel=1e-5)
        assert 0 <= float(accuracy) <= 1
        assert float(tau) == pytest.approx(GOLDEN["f64/tau"][k], rel=1e-6)
        assert float(lr) == pytest.approx(GOLDEN["f64/lr"][k], rel=1e-6)

        parameters = {p.name: p.asnumpy() for p in step.network.get_parameters()}
        moments = {p.name: p.asnumpy() for p in step.optimizer.moments}

        def haiku(name, path):
            return reference.to_haiku(parameters[name] if name in parameters else moments[name], SHAPES[path])

        for role in ("online", "target"):
            rows = [(role, (k, i), p, haiku(our_name(role, p), p)) for i, p in enumerate(PATHS) if our_name(role, p)]
            check(f"{role} parameters, step {k}", rows, LIMITS["parameters"])
            rows = []
            for i, path in enumerate(map(str, GOLDEN["state_paths"])):
                name = our_name(role, path.replace("/hidden", "/average")) if path in STATES else None
                if name:
                    rows.append(
                        (f"{role}_state", (k, i), path, population(name, parameters[name]).reshape(STATES[path]))
                    )
            assert len(rows) == (46 if role == "online" else 44)
            check(f"{role} statistics, step {k}", rows, LIMITS["statistics"])
        # A bias in front of a batch norm has no gradient but rounding noise.
        rows = [
            ("mu", (k, i), path, haiku(f"moments.{our_name('online', path)}", path))
            for i, path in enumerate(PATHS)
            if not path.endswith("/linear/b")
        ]
        check(f"moments, step {k}", rows, LIMITS["mu"])
    assert int(step.optimizer.global_step) == CONFIG["num_steps"]


@pytest.mark.parametrize("instructions", ["SSE41", "AVX2"])
def test_four_steps_equal_the_reference_on_other_cpus(instructions):
    """oneDNN reads the limit once a process, so this one starts the test above in another."""
    again = [sys.executable, "-m", "pytest", "-q", f"{__file__}::test_four_steps_equal_the_reference"]
    done = subprocess.run(again, env={**os.environ, "ONEDNN_MAX_CPU_ISA": instructions}, capture_output=True, text=True)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
