import numpy as np
import pytest

import mindspore as ms
from mindspore import Tensor, nn

from mindbyol.backbones import create_backbone
from mindbyol.byol import BYOL, BYOLTrainOneStep, Encoder, Normalize
from mindbyol.config import parse_args
from mindbyol.heads import MLP, dense
from mindbyol.training.cells import replace_cells
from mindbyol.training.optimizer import create_optimizer
from mindbyol.training.plan import Plan
from tests import tiny_model  # noqa: F401  (registers the model)


def tiny_network(probe=True):
    """Without a ReLU, whose sign rounding could flip."""
    online, target = (Encoder(create_backbone("tiny", image_size=8), MLP(16, 8, 5)) for _ in range(2))
    probe = dense(16, 3) if probe else None
    network = BYOL(online, MLP(5, 8, 5), target, Normalize([127.0] * 3, [64.0] * 3), probe)
    replace_cells(network, (nn.ReLU,), lambda _: nn.Tanh())
    return network.set_train()


def recipe(*argv):
    return parse_args(["--batch_size", "16", "--epoch_size", "4", "--warmup_epochs", "1", *argv])


def batch(seed=0):
    rng = np.random.default_rng(seed)
    views = [Tensor(rng.integers(0, 256, (8, 3, 8, 8)).astype(np.uint8)) for _ in range(2)]
    return *views, Tensor(rng.integers(0, 3, 8).astype(np.int32))


def values(cell):
    return {p.name: p.asnumpy().copy() for p in cell.get_parameters()}


def test_plan():
    plan = Plan(recipe("--base_lr", "0.4"), 100)
    assert (plan.steps_per_epoch, plan.total_steps, plan.warmup_steps) == (6, 24, 6)
    assert plan.peak_lr == pytest.approx(0.4 * 16 / 256)
    assert Plan(recipe("--lr", "0.3"), 100).peak_lr == 0.3
    assert (
        Plan(recipe("--epoch_size", "100", "--batch_size", "4096", "--warmup_epochs", "10"), 1281167).warmup_steps
        == 3127
    )


@pytest.mark.parametrize("epochs, steps", [(4, 2), (50, 31), (100, 62), (300, 62)])
def test_without_a_word_the_warm_up_is_a_tenth_of_a_short_run(epochs, steps):
    """100 images, 16 a step: 0.4, 5, 10 and 10 epochs of 6.25 steps."""
    assert Plan(parse_args(["--batch_size", "16", "--epoch_size", str(epochs)]), 100).warmup_steps == steps


@pytest.mark.parametrize(
    "argv, images, message",
    [
        (
            (),
            15,
            r"batch_size: a step takes 16 images \(16 a device x 1 .* the training split has 15; try --batch_size 7$",
        ),
        (("--warmup_epochs", "4"), 64, "warmup_epochs: 4.0 epochs of warm-up in a run of 4; try --warmup_epochs 0.4"),
    ],
)
def test_plans_that_cannot_be(argv, images, message):
    with pytest.raises(ValueError, match=message):
        Plan(recipe(*argv), images)


@pytest.mark.parametrize("opt", ["lars", "sgd", "adamw"])
def test_the_target_follows_and_is_in_no_optimizer(opt):
    network = tiny_network()
    args = recipe("--opt", opt, "--lr", "0.01")
    optimizer = create_optimizer(args, network, Plan(args, 64))
    names = [p.name for p in optimizer.parameters]
    assert not [name for name in names if name.startswith("target")]
    assert len(names) == len(set(names)) == 6 + 5 + 5 + 2
    step = BYOLTrainOneStep(network, optimizer, 0.9, 16)
    assert len({p.name for p in step.get_parameters()}) == len(list(step.get_parameters()))
    before = values(network)
    taus, lrs = zip(*((float(tau), float(lr)) for _, (*_, tau, lr) in (step(*batch(k)) for k in range(3))))
    after = values(network)
    assert lrs == pytest.approx([0, 0.0025, 0.005]) and taus[0] == pytest.approx(0.9) and taus[2] > taus[1] > taus[0]
    for name in names:
        if not name.endswith("fc0.bias"):  # in front of a batch norm: no gradient
            assert not np.array_equal(before[name], after[name]), name
    # Three steps of the target by hand need the online values between; one step from a frozen online side will do.
    step = BYOLTrainOneStep(
        network, create_optimizer(recipe("--opt", opt, "--lr", "0"), network, Plan(args, 64)), 0.9, 16
    )
    step(*batch())
    for name, value in values(network).items():
        if name.startswith("target") and "moving" not in name:
            online = name.replace("target", "online")
            np.testing.assert_allclose(
                value, 0.9 * after[name] + 0.1 * after[online], rtol=1e-5, atol=1e-7, err_msg=name
            )


@pytest.mark.parametrize("tau, role", [(1.0, "target"), (0.0, "online")])
def test_tau_one_freezes_the_target_and_tau_zero_copies_the_online_network(tau, role):
    network = tiny_network(probe=False)
    args = recipe("--lr", "0.3", "--warmup_epochs", "0")
    step = BYOLTrainOneStep(network, create_optimizer(args, network, Plan(args, 64)), tau, 10**9)
    before = values(network)
    step(*batch()[:2])
    after = values(network)
    expected = before if role == "target" else after
    moved = 0
    for name in after:
        if name.startswith("target") and "moving" not in name:
            wanted = expected[name.replace("target", role)]
            np.testing.assert_allclose(after[name], wanted, rtol=0, atol=0 if tau == 1 else 1e-7, err_msg=name)
            moved += not np.array_equal(after[name], before[name])
        if name.startswith("target") and "moving" in name:
            assert not np.array_equal(after[name], before[name])  # its own statistics, from its own batches
    assert (moved > 0) == (role == "online")


def test_graph_and_pynative_agree():
    results = []
    for mode in (ms.GRAPH_MODE, ms.PYNATIVE_MODE):
        ms.set_context(mode=mode)
        ms.set_seed(1)
        network = tiny_network()
        args = recipe("--lr", "0.1", "--warmup_epochs", "0")
        step = BYOLTrainOneStep(network, create_optimizer(args, network, Plan(args, 64)), 0.9, 16)
        losses = [float(step(*batch(k))[0]) for k in range(3)]
        results.append((losses, values(step)))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for name, value in results[0][1].items():
        np.testing.assert_allclose(value, results[1][1][name], rtol=1e-4, atol=2e-5, err_msg=name)


def test_weight_decay_spares_biases_and_norms():
    network = tiny_network()
    args = recipe("--opt", "sgd", "--lr", "0.1", "--weight_decay", "0.5")
    optimizer = create_optimizer(args, network, Plan(args, 64))
    spared = {p.name for p, decay in zip(optimizer.parameters, optimizer.weight_decay) if float(decay) == 0}
    assert spared == {n for n in (p.name for p in optimizer.parameters) if n.endswith(("bias", "gamma", "beta"))}


def test_large_rates_with_adamw_are_warned_about(caplog):
    args = recipe("--opt", "adamw", "--lr", "3.2")
    create_optimizer(args, tiny_network(), Plan(args, 64))
    assert "adamw with a peak learning rate of 3.2" in caplog.text and "try --lr 0.001" in caplog.text
