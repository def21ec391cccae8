import numpy as np
import pytest

import mindcv
import mindspore as ms
from mindspore import Parameter, Tensor, nn

from mindbyol.training.lars import LARS, excluded_from_lars
from tests import reference

GOLDEN = reference.load("lars.npz")


class GivenRates(nn.learning_rate_schedule.LearningRateSchedule):
    def __init__(self, rates):
        super().__init__()
        self.rates = Tensor(rates, ms.float32)

    def construct(self, global_step):
        return self.rates[global_step]


@pytest.mark.parametrize("case", range(int(GOLDEN["num_cases"])))
def test_five_updates_equal_the_reference(case):
    key = f"case_{case}/"
    names = [str(name) for name in GOLDEN[key + "names"]]
    excluded = dict(zip(names, GOLDEN[key + "excluded"]))
    parameters = [Parameter(GOLDEN[f"{key}init/{name}"], name=name) for name in names]
    optimizer = LARS(
        parameters,
        GivenRates(GOLDEN[key + "lr"]),
        float(GOLDEN[key + "momentum"]),
        float(GOLDEN[key + "weight_decay"]),
        float(GOLDEN[key + "eta"]),
        exclude=lambda name: bool(excluded[name]),
    )
    for step in range(5):
        optimizer(tuple(Tensor(GOLDEN[f"{key}grad/{name}"][step]) for name in names))
        for name, parameter, moment in zip(names, parameters, optimizer.moments):
            for what, value in (("param", parameter), ("mu", moment)):
                expected = GOLDEN[f"f64/{key}{what}/{name}"][step]
                atol = 1e-6 * np.abs(expected).max()
                np.testing.assert_allclose(
                    value.asnumpy(), expected, rtol=0, atol=atol, err_msg=f"{what} {name} {step}"
                )


def test_exclusion_by_name_on_resnet50():
    names = [p.name for p in mindcv.create_model("resnet50").trainable_params()]
    adapted = [name for name in names if not excluded_from_lars(name)]
    # 53 convolutions, 4 of them shortcuts, and the classifier
    assert len(adapted) == 54 and all(name.endswith(".weight") for name in adapted)
    assert [n for n in adapted if "down_sample" in n] == [f"layer{i}.0.down_sample.0.weight" for i in (1, 2, 3, 4)]
    assert all(
        excluded_from_lars(f"layer{i}.0.down_sample.1.{leaf}") for i in (1, 2, 3, 4) for leaf in ("gamma", "beta")
    )
    assert excluded_from_lars("bn1.gamma") and excluded_from_lars("classifier.bias")
    assert len(names) == 161


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE])
def test_an_update_whose_norm_overflows_is_noticed(mode):
    before = ms.get_context("mode")
    ms.set_context(mode=mode)
    weight = Parameter(np.ones((4, 4), np.float32), name="weight")
    LARS([weight], 0.1, weight_decay=1e38)((Tensor(np.ones((4, 4), np.float32)),))
    ms.set_context(mode=before)
    assert np.isnan(weight.asnumpy()).all()


def test_the_reference_agrees_on_what_is_excluded():
    golden = reference.load("forward_r50.npz")
    for path in map(str, golden["param_paths"]):
        haiku = path.endswith("/b") or "norm" in path.rsplit("/", 1)[0]
        assert excluded_from_lars(reference.ours(path)) == haiku, path
