"""What is told of a file without a card: stem, padding, how far the run had come."""

import foreign
import pytest
from foreign import arrays_of

from mindbyol.weights import read_weights
from mindbyol.weights.torch_files import write_zip


def test_stem_for_small_images_is_recognised(tmp_path):
    source = tmp_path / "source.pth"
    write_zip(source, foreign.torchvision(arrays_of(stem="small")))
    assert read_weights(source).card.stem == "small"


def test_padding_can_be_named(tmp_path):
    source = tmp_path / "source.pth"
    write_zip(source, foreign.torchvision(arrays_of()))
    assert read_weights(source, padding="same").card.padding == "same"


SCRIPT = {"arch": "resnet18", "optimizer": {}}


@pytest.mark.parametrize(
    "beside, key, epoch",
    [
        pytest.param({"epoch": 99, "global_step": 5}, "state_dict", 100, id="Lightning counts from 0"),
        pytest.param({"epoch": 99, "pytorch-lightning_version": "2.0"}, "state_dict", 100, id="Lightning's version"),
        pytest.param({"meta": {"epoch": 200}, "epoch": 3}, "state_dict", 200, id="mmengine counts finished epochs"),
        pytest.param({"epoch": 200, **SCRIPT}, "state_dict", 200, id="MoCo and SimSiam count finished epochs"),
        pytest.param({"epoch": 99, "version": 2, **SCRIPT}, "state_dict", 100, id="timm counts from 0"),
        pytest.param({"epoch": 99, "args": None}, "model", 100, id="torchvision's scripts count from 0"),
        pytest.param({"epoch": 10**12}, "state_dict", None, id="no epoch"),
        pytest.param({"epoch": True}, "state_dict", None, id="no number"),
    ],
)
def test_epochs_that_were_finished(tmp_path, beside, key, epoch):
    path = tmp_path / "source.pth"
    write_zip(path, {**beside, key: foreign.torchvision(arrays_of())})
    weights = read_weights(path)
    assert weights.card.epoch == epoch
    assert weights.found == "torchvision, backbone and probe" + (f", epoch {epoch}" if epoch else "")
