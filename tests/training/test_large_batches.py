"""Accumulation, loss scale and half precision inside the step."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor, nn

from mindbyol.backbones import create_backbone
from mindbyol.byol import BYOLTrainOneStep, Normalize
from mindbyol.classifier import Classifier, linear_head
from mindbyol.pretraining import create_train_step
from mindbyol.training.batch_norm import BatchNormOfViews
from mindbyol.training.log import NonFiniteLoss, TrainLog
from mindbyol.training.loss_scale import LossScale
from mindbyol.training.optimizer import create_optimizer
from mindbyol.training.overflows import WatchOverflows
from mindbyol.training.plan import Plan
from mindbyol.training.precision import set_precision
from mindbyol.training.schedules import WarmupCosine, target_tau
from mindbyol.training.step import TrainOneStep
from tests.training.test_build import batch, recipe, tiny_network, values

MODES = pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])


def frozen_network(seed=3):
    """Without batch statistics, the gradient of a batch is the mean of the gradients of its parts."""
    ms.set_seed(seed)
    network = tiny_network()
    for _, cell in network.cells_and_names():
        if isinstance(cell, BatchNormOfViews):
            cell.set_train(False)
    return network


def create_step(network, accumulation=1, loss_scale=None, lr="0.3", noted=False, opt="lars"):
    args = recipe("--lr", lr, "--warmup_epochs", "0", "--opt", opt)
    optimizer = create_optimizer(args, network, Plan(args, 64))
    return BYOLTrainOneStep(network, optimizer, 0.9, 16, accumulation, loss_scale, notes_gradient_norm=noted)


@MODES
@pytest.mark.parametrize("scale", [None, 1024.0])
def test_accumulated_batches_equal_one_large_batch(mode, scale):
    ms.set_context(mode=mode)
    parts = [batch(k) for k in range(4)]
    whole = [[Tensor(np.concatenate([p[i].asnumpy() for p in parts[k : k + 2]])) for i in range(3)] for k in (0, 2)]
    large, small = create_step(frozen_network()), create_step(frozen_network(), 2, scale and LossScale(scale, True))
    start = values(large.network)
    for arrays in whole:
        large(*arrays)
    for arrays in parts:
        small(*arrays)
    expected, got = values(large.network), values(small.network)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
        assert "moving" in name or name.endswith("fc0.bias") or not np.array_equal(value, start[name]), name
    assert int(small.optimizer.global_step) == int(large.optimizer.global_step) == 2
    assert not small.total.asnumpy().any()


@MODES
def test_everything_moves_once_for_all_accumulated_batches(mode):
    ms.set_context(mode=mode)
    step = create_step(tiny_network(), accumulation=3)
    learned = [p.name for p in step.get_parameters() if p.name.startswith(("online", "predictor", "target", "moments"))]
    learned = [name for name in learned if "moving" not in name and not name.endswith("fc0.bias")]
    taus, moved, before = [], [], values(step)
    for k in range(7):
        _, (*_, tau, lr) = step(*batch(k))
        after = values(step)
        changed = [not np.array_equal(before[name], after[name]) for name in learned]
        assert all(changed) or not any(changed)
        moved.append(changed[0])
        taus.append(float(tau))
        before = after
    assert moved == [False, False, True, False, False, True, False]
    expected = [float(target_tau(Tensor(s, ms.int32), 0.9, 16)) for s in (0, 0, 0, 1, 1, 1, 2)]
    assert taus == pytest.approx(expected, rel=1e-6) and taus[3] > taus[2]
    assert int(step.optimizer.global_step) == 2


@pytest.mark.parametrize(
    "mode, accumulation, opt",
    [
        (ms.GRAPH_MODE, 1, "lars"),
        (ms.GRAPH_MODE, 2, "lars"),
        (ms.GRAPH_MODE, 1, "sgd"),
        (ms.PYNATIVE_MODE, 2, "lars"),
        (ms.PYNATIVE_MODE, 2, "adamw"),
    ],
)
def test_a_step_that_overflows_changes_nothing(mode, accumulation, opt):
    """LARS and the batch norms of two views are told of it; what others have moved is put back."""
    ms.set_context(mode=mode)
    step = create_step(tiny_network(), accumulation, LossScale(2.0**10, True), opt=opt)
    for k in range(accumulation):
        step(*batch(k))
    before = values(step)
    huge = 3e38 if opt == "lars" else np.inf  # the first times a gradient of more than 1, after a step of LARS
    step.loss_scale.value.set_data(Tensor(huge, ms.float32))
    for k in range(accumulation):
        _, (*_, scale, overflows) = step(*batch(k))
    after = values(step)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    noted = ("noted", "accumulated", "before_step")  # what every step fills anew
    changed = {name for name in changed if not name.startswith(noted)}
    assert changed == {"loss_scale", "overflows", "loss_scale_good_steps"}
    assert (float(scale), int(overflows)) == (pytest.approx(huge / 2), 1)
    step.loss_scale.value.set_data(Tensor(1024, ms.float32))
    for k in range(accumulation):
        step(*batch(k))
    assert int(step.optimizer.global_step) == 2 and int(step.loss_scale.overflows) == 1
    after = values(step)
    kept = [value for name, value in after.items() if not name.startswith(noted)]
    assert all(np.isfinite(value).all() for value in kept)
    assert not np.array_equal(before["online.backbone.bn1.moving_mean"], after["online.backbone.bn1.moving_mean"])


def test_batch_norms_of_mindspore_are_put_back_after_an_overflow():
    """Those of a classifier: their statistics move in the forward pass of each of the accumulated batches."""
    network = Classifier(
        create_backbone("tiny", image_size=8), [linear_head(16, 3)], Normalize([127.0] * 3, [64.0] * 3)
    )
    optimizer = nn.SGD(network.trainable_params(), WarmupCosine(0.1, 0, 100))
    step = TrainOneStep(network, optimizer, None, 2, LossScale(1.0, True))
    seen = [values(network)]
    for scale in (1.0, np.inf, 1.0):
        step.loss_scale.value.set_data(Tensor(scale, ms.float32))
        for k in range(2):
            image, _, label = batch(k)
            step(image, label)
        seen.append(values(network))
    for name, value in seen[0].items():
        np.testing.assert_array_equal(seen[2][name], seen[1][name], err_msg=name)
        moved = [not np.array_equal(before[name], after[name]) for before, after in zip(seen, seen[1:])]
        assert moved == [True, False, True], name


@MODES
def test_the_dynamic_loss_scale_halves_and_doubles(mode):
    ms.set_context(mode=mode)
    scale = LossScale(8.0, True, window=2)
    seen = []
    for finite in (True, True, True, False, True, True, False, False, False, False, False):
        scale(Tensor(finite))
        seen.append(float(scale.value))
    assert seen == [8, 16, 16, 8, 8, 16, 8, 4, 2, 1, 1]
    assert int(scale.overflows) == 6
    fixed = LossScale(8.0, False, window=1)
    fixed(Tensor(True)), fixed(Tensor(False))
    assert float(fixed.value) == 8 and int(fixed.overflows) == 1


def log_of_scales(folder, interval):
    plan = SimpleNamespace(epochs=2, total_steps=200, steps_per_epoch=100, effective_batch=64, accumulation=1)
    states = ("loss_scale", "overflows")
    step = SimpleNamespace(statistics=states, states=states)
    return TrainLog(folder, step, plan, interval, {}, [WatchOverflows()])


def test_overflows_are_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    log = log_of_scales(tmp_path, 2)
    for overflows in (0, 0, 1, 3):
        log.add(Tensor(2.0), Tensor([512.0, overflows]))
        log.end_step(0.0)
    log.close()
    assert "overflow: 3 steps left out since the last line, 3 since the run began; the loss scale is 512" in caplog.text
    assert caplog.text.count("overflow:") == 1 and '"overflows": 3.0' in (tmp_path / "metrics.jsonl").read_text()


def overflow_always(folder, scales):
    log = log_of_scales(folder, 4)
    for step, scale in enumerate(scales, 1):
        log.add(Tensor(2.0), Tensor([scale, float(step)]))
        log.end_step(0.0)


def test_a_run_that_overflows_for_ever_is_stopped(tmp_path):
    with pytest.raises(
        NonFiniteLoss, match="the last 12 steps overflowed at a loss scale of 512 .*smaller --loss_scale"
    ):
        overflow_always(tmp_path, [512] * 20)
    overflow_always(tmp_path, [2.0**k for k in range(40, 0, -1)])  # a scale that shrinks may yet find its level


@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
def test_half_precision_is_in_the_networks_only(level):
    ms.set_seed(5)
    exact = create_step(tiny_network())
    ms.set_seed(5)
    network = tiny_network()
    names = [p.name for p in network.get_parameters()]
    set_precision(network, network.half_precision_cells(), level, "float16")
    assert [p.name for p in network.get_parameters()] == names
    assert all(p.dtype == ms.float32 for p in network.get_parameters())
    projection = network.online(network.normalize(batch()[0]))[1].asnumpy()
    exact.network.online(exact.network.normalize(batch()[0]))  # running statistics move in both
    np.testing.assert_array_equal(projection, projection.astype(np.float16))
    step = create_step(network, 1, LossScale(128.0, False))
    for k in range(2):
        loss, statistics = step(*batch(k))
        expected, _ = exact(*batch(k))
        assert loss.dtype == statistics.dtype == ms.float32 and statistics.shape == (len(step.statistics),)
        assert float(loss) != float(expected) and float(loss) == pytest.approx(float(expected), rel=0.02)
    assert [p.name for p in step.network.get_parameters()] == names
    assert all(p.dtype in (ms.float32, ms.int32) for p in step.get_parameters())
    moved = values(step.network)
    for name, value in values(exact.network).items():
        if not name.endswith("fc0.bias"):  # rounding noise, in front of a batch norm
            np.testing.assert_allclose(moved[name], value, rtol=0.05, atol=0.02, err_msg=name)


def test_float16_without_a_loss_scale_warns(caplog):
    args = recipe("--amp_level", "O2")
    create_train_step(args, tiny_network(), Plan(args, 64))
    assert "float16 with a loss scale of 1: small gradients become zero; try --loss_scale_type dynamic" in caplog.text


def test_with_bfloat16_max_pools_stay_float32(monkeypatch):
    """Ascend has no other. Nothing here has bfloat16 convolutions, so what each layer computes in is looked at."""
    monkeypatch.setattr(ms, "get_context", lambda _: "Ascend")
    for dtype, half, pooled_in in (("bfloat16", "bf16", "fp32"), ("float16", "fp16", "fp16")):
        network = nn.SequentialCell(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2))
        parent = nn.SequentialCell(network)
        set_precision(parent, [(parent, "0")], "O2", dtype)
        kinds = {}
        for _, cell in parent.cells_and_names():
            if isinstance(cell, (nn.Conv2d, nn.MaxPool2d)):
                kinds[type(cell)] = [kind for kind in ("fp16", "bf16", "fp32") if getattr(cell, kind, False)]
        assert kinds == {nn.Conv2d: [half], nn.MaxPool2d: [pooled_in]}


def test_bfloat16_on_a_cpu_is_refused():
    args = recipe("--amp_level", "O2", "--amp_dtype", "bfloat16")
    with pytest.raises(ValueError, match="amp_dtype: MindSpore has no bfloat16 convolution on the CPU; use float16"):
        create_train_step(args, tiny_network(), Plan(args, 64))


@pytest.mark.parametrize("ranks, steps", [(1, 8), (2, 4), (8, 1)])
def test_accumulation_keeps_the_effective_batch(ranks, steps):
    args = recipe("--gradient_accumulation_steps", "auto", "--effective_batch", "128")
    plan = Plan(args, 1000, ranks)
    assert (plan.accumulation, plan.effective_batch, plan.total_steps) == (steps, 128, 4 * 7)
    assert plan.peak_lr == pytest.approx(args.base_lr * 128 / 256)


def test_accumulation_that_cannot_be():
    with pytest.raises(ValueError, match="effective_batch: 100 is no multiple of 32, which 2 devices of batch_size 16"):
        Plan(recipe("--gradient_accumulation_steps", "auto", "--effective_batch", "100"), 1000, 2)
    with pytest.raises(ValueError, match="auto needs effective_batch"):
        Plan(recipe("--gradient_accumulation_steps", "auto"), 1000)
