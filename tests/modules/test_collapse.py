"""The verdict on a collapse, on numbers of real runs on the digits (d = 256) and, slowly, on such runs themselves."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from mindspore import nn

from mindbyol import pretraining
from mindbyol.collapse import WatchCollapse
from mindbyol.commands import train
from tests.tasks import tiny

RECIPE = SimpleNamespace(projection_size=256, lr=None, base_lr=12.0, warmup_epochs=None, base_tau=0.98, batch_size=32)
# byol_loss, projection_std and probe_accuracy of one line after the other
HEALTHY = [(2.8283, 0.0501, 0.103), (1.6877, 0.0516, 0.108), (1.46, 0.0535, 0.267), (0.9515, 0.0537, 0.442)]
NO_PREDICTOR = [(3.5751, 0.0496, 0.115), (2.2235, 0.0397, 0.108), (1.0916, 0.0195, 0.096), (0.5048, 0.0082, 0.071)]
NO_PREDICTOR += [(0.2208, 0.0049, 0.117), (0.0918, 0.004, 0.117), (0.043, 0.0036, 0.142), (0.0233, 0.0029, 0.14)]
ADAMW_AT_0_1 = [(2.8673, 0.0294, 0.071), (2.2365, 0.0235, 0.098), (0.8591, 0.0229, 0.119), (0.6203, 0.0196, 0.098)]


def verdicts(lines, caplog, knn=None):
    """Each as the number of its line and its words."""
    caplog.clear()
    caplog.set_level(logging.INFO)
    watcher = WatchCollapse(RECIPE, 2, np.arange(1000) % 10)
    watcher.knn = knn
    found = []
    for number, values in enumerate(lines, 1):
        watcher.look(SimpleNamespace(means=dict(zip(("byol_loss", "projection_std", "probe_accuracy"), values))))
        found += [(number, record.getMessage()) for record in caplog.records]
        caplog.clear()
    return found


def test_a_healthy_run_gets_no_verdict(caplog):
    assert verdicts(HEALTHY, caplog) == []
    assert verdicts([*HEALTHY[:2], (0.01, 0.001, 0.1), *HEALTHY[2:]], caplog) == []  # one line may be an accident


def test_a_collapse_is_said_twice_and_not_at_every_line(caplog):
    (first, low), (second, collapse) = verdicts(NO_PREDICTOR, caplog)
    assert (first, second) == (4, 6)
    assert low.startswith("low spread: ") and "Stop" not in low
    assert "collapse: the projections of different images are nearly equal (std 0.004, healthy about 0.062)" in collapse
    assert "the probe (11.7%) is no better than a guess (10.0%)" in collapse and "the loss is near 0" not in collapse
    assert "a smaller --base_lr (now 12), a longer --warmup_epochs (now 2)" in collapse


def test_a_spread_that_stays_low_and_one_that_comes_back(caplog):
    assert [number for number, _ in verdicts(ADAMW_AT_0_1, caplog)] == [3]
    assert verdicts([*ADAMW_AT_0_1, *HEALTHY], caplog)[-1] == (5, "the projections of different images are apart again")


def test_the_other_signs_stand_beside_it(caplog):
    collapsed = [(0.001, 0.0, 0.5)] * 2
    ((_, text),) = verdicts(collapsed, caplog, ("knn20_top1", 11.0))
    assert (
        "the loss is near 0 (0.001)" in text and "knn20_top1 (11.0%) is no better" in text and "the probe" not in text
    )


@pytest.mark.slow
@pytest.mark.parametrize("predictor", [True, False])
def test_a_run_without_a_predictor_collapses(predictor, tmp_path, monkeypatch, capsys):
    create = pretraining.create_byol

    def without(*args, **kwargs):
        network = create(*args, **kwargs)
        network.predictor = nn.Identity()
        return network

    if not predictor:
        monkeypatch.setattr(pretraining, "create_byol", without)
    recipe = ["-c", str(tiny.ROOT / "configs/byol/byol_resnet18_digits_cpu.yaml"), "--epoch_size", "6"]
    signal = {"--ckpt_save_dir": tmp_path, "--log_interval": 15, "--val_while_train": False}
    train.main([*recipe, *(str(part) for pair in signal.items() for part in pair)])
    output = capsys.readouterr().out
    assert ("WARNING - collapse: " in output) is not predictor and ("low spread" in output) is not predictor
