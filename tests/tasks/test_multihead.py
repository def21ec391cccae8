"""Multi-head linear evaluation: heads that do not know of each other, whole commands, several ranks."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mindspore import Tensor, nn

from mindbyol import checkpoint
from mindbyol.backbones import create_backbone
from mindbyol.byol import Normalize
from mindbyol.classifier import Classifier, linear_head
from mindbyol.multihead import StageClassifier
from mindbyol.training.schedules import MultiStep
from mindbyol.training.step import TrainOneStep
from tests.tasks import classifiers, tiny
from tests.tasks.classifiers import MULTIHEAD, lines, train, validate


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Path of the first stage of a ResNet-18."""
    path = tmp_path_factory.mktemp("backbone") / "resnet18-1_1_backbone.ckpt"
    classifiers.write_backbone(path, "resnet18", stages=1, factor=1)
    return path


@pytest.fixture(scope="module")
def run(backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "ckpt"
    train(folder, MULTIHEAD, ckpt_path=backbone, epoch_size=1)
    return folder


def trained(network, start, steps=3):
    """Parameters by name after steps from given values; of one head, `start` has more than are taken."""
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(start[parameter.name]))
    optimizer = nn.SGD(network.trainable_params(), MultiStep(0.1, 0, [2], 0.1), 0.9, nesterov=True, weight_decay=1e-4)
    step = TrainOneStep(network, optimizer)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        images = rng.integers(0, 256, (8, 3, 16, 16)).astype(np.uint8)
        step(Tensor(images), Tensor(rng.integers(0, 4, 8).astype(np.int32)))
    return {p.name: p.asnumpy() for p in network.get_parameters()}


def rename(arrays, place):
    """The arrays of the head at a place, as those of a network that has it alone."""
    kept = {name: a for name, a in arrays.items() if not name.startswith("heads.")}
    mine = {name: a for name, a in arrays.items() if name.startswith(f"heads.{place}.")}
    return {**kept, **{name.replace(f"heads.{place}.", "heads.0."): a for name, a in mine.items()}}


def test_heads_learn_the_same_together_and_alone():
    def network(layers=None):
        return StageClassifier(
            create_backbone("resnet18", image_size=16, stages=1), Normalize([127.0] * 3, [64.0] * 3), 4, layers
        )

    both = network()
    assert both.names == ("feature1", "feature2")
    start = {p.name: p.asnumpy().copy() for p in both.get_parameters()}
    together = trained(both, start)
    moved = [name for name in start if not np.array_equal(start[name], together[name])]
    assert {name.split(".", 2)[2] for name in moved} == {"bn.moving_mean", "bn.moving_variance", "fc.weight", "fc.bias"}
    assert all(name.startswith("heads.") for name in moved) and len(moved) == 8
    for place, layer in enumerate(both.names):
        alone = trained(network([layer]), rename(start, place))
        for name, expected in rename(together, place).items():
            np.testing.assert_allclose(alone[name], expected, rtol=1e-6, atol=1e-7, err_msg=f"{layer} {name}")


@pytest.mark.slow
def test_rates_in_one_pass_are_those_of_runs_of_their_own():
    def network(heads):
        backbone = create_backbone("resnet18", image_size=16, stages=1)
        normalize = Normalize([127.0] * 3, [64.0] * 3)
        made = [linear_head(backbone.num_features, 4) for _ in range(heads)]
        return Classifier(backbone, made, normalize, [f"head{i}" for i in range(heads)], frozen=True)

    both = network(2)
    start = {p.name: p.asnumpy().copy() for p in both.get_parameters()}
    together = trained(both, start)
    for place in range(2):
        alone = trained(network(1), rename(start, place))
        for name, expected in rename(together, place).items():
            np.testing.assert_allclose(alone[name], expected, rtol=1e-6, atol=1e-7)


def test_a_run_and_its_scores(run, backbone, tmp_path):
    before, _ = checkpoint.read(backbone)
    arrays, card = checkpoint.read(run / "resnet18-1_5.ckpt")
    assert checkpoint.digest(checkpoint.online_backbone(arrays)) == checkpoint.digest(before)
    assert card.more["heads"] == ["feature1", "feature2"]
    (line,), (scored,) = lines(run)
    assert line["loss"] > 2 and {"feature1_accuracy", "feature2_accuracy"} <= line.keys()
    found = validate(run / "resnet18-1_5.ckpt", MULTIHEAD, tmp_path)
    assert found == {name[4:]: pytest.approx(value, abs=1e-4) for name, value in scored.items() if "val_" in name}
    assert found["top1"] == max(found["feature1_top1"], found["feature2_top1"]) > 30


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"layers": "feature2 feature5"}, "layers: this backbone has no feature5, only feature1, feature2"),
        ({"layers": "feature6"}, "layers: 'feature6' is none of feature1"),
        ({"amp_level": "O2"}, "amp_level: O2 hides the stages of the backbone"),
        ({"ckpt_path": None}, "ckpt_path: which backbone is to be scored"),
    ],
)
def test_bad_input_is_one_line(backbone, tmp_path, keys, message):
    with pytest.raises(SystemExit, match=message) as stop:
        train(tmp_path / "run", MULTIHEAD, **{"ckpt_path": backbone, **keys})
    assert "\n" not in str(stop.value)


def test_the_checkpoint_of_another_task_is_refused(run, tmp_path):
    with pytest.raises(SystemExit, match="has classifiers of task multihead; --task multihead scores them"):
        validate(run / "resnet18-1_5.ckpt", {**MULTIHEAD, "task": "linear"}, tmp_path)


def test_two_ranks_equal_one(run, backbone, tmp_path):
    """Synchronised batch norm of the heads; 355 images are no multiple of anything here."""
    folder = tmp_path / "two"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["msrun", "--worker_num=2", "--local_worker_num=2", f"--master_port={tiny.free_port()}"]
    command += [f"--log_dir={tmp_path}/log", "--join=True", "--cluster_time_out=120", tiny.TRAIN]
    keys = {"ckpt_path": backbone, "epoch_size": 1, "batch_size": 16, "ckpt_save_dir": folder}
    result = subprocess.run(
        [*command, *classifiers.flags({**MULTIHEAD, **keys})],
        cwd=tiny.ROOT,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    two, one = (checkpoint.read(one_run / "resnet18-1_5.ckpt")[0] for one_run in (folder, run))
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=2e-4, atol=2e-6, err_msg=name)
    assert lines(folder)[1] == lines(run)[1]
