"""One door: a backbone out of every kind of file gives the features that its export gives, and says what it is."""

import foreign
import numpy as np
import pytest
from safetensors.numpy import save_file

import mindcv
import mindspore as ms
from mindspore import Tensor

from mindbyol import checkpoint
from mindbyol.config import parse_args
from mindbyol.evaluation import subjects
from mindbyol.evaluation.features import FeatureExtractor
from mindbyol.model_card import Card
from mindbyol.pretraining import create_byol, read_start, start_from
from mindbyol.runtime import pynative
from mindbyol.weights import Weights, networks
from mindbyol.weights.describe import describe
from mindbyol.weights.export import export
from mindbyol.weights.subject import open_subject
from mindbyol.weights.torch_files import write_zip

SIZE = 32
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
IMAGES = np.random.default_rng(1).integers(0, 256, (2, 3, SIZE, SIZE), np.uint8)


@pytest.fixture(scope="module")
def arrays():
    return foreign.healthy()


def backbone_of(arrays):
    return foreign.part(arrays, "online.backbone.")


def write_mindcv(arrays, path):
    """As MindCV writes it, with its classifier."""
    network = mindcv.create_model("resnet18", num_classes=5)
    for parameter in network.get_parameters():
        part, name = ("probe.", parameter.name[11:]) if "classifier" in parameter.name else ("", parameter.name)
        parameter.set_data(Tensor(foreign.part(arrays, part or "online.backbone.")[name]))
    ms.save_checkpoint(network, str(path))


def write_own(arrays, path):
    checkpoint.write(path, {**arrays, "moments.x": np.ones(3, np.float32)}, Card(padding="same", mindbyol="0", step=9))


def write_own_backbone(arrays, path):
    checkpoint.write(path, backbone_of(arrays), Card(model="resnet18", padding="torch", kind="backbone", mindbyol="0"))


def write_mindir(arrays, path):
    export(Weights(arrays, Card("resnet18", "imagenet", "torch", image_resize=SIZE), "made here", []), path, "mindir")


# file, how it is written, the padding that the features are exact with
FILES = {
    "mmselfsup.pth": (lambda a, path: write_zip(path, {"state_dict": foreign.mmselfsup1(a)}), "torch"),
    "torchvision.pth": (lambda a, path: write_zip(path, foreign.torchvision(a)), "torch"),
    "solo.ckpt": (lambda a, path: write_zip(path, {"state_dict": foreign.solo_learn(a), "epoch": 9}), "torch"),
    "deepmind.pkl": (lambda a, path: foreign.deepmind(a, path), "same"),
    "torchvision.safetensors": (lambda a, path: save_file(foreign.torchvision(a), path), "torch"),
    "mindcv.ckpt": (write_mindcv, "mindcv"),
    "own.ckpt": (write_own, "same"),
    "backbone.ckpt": (write_own_backbone, "torch"),
    "graph.mindir": (write_mindir, "torch"),
}


def score(subject):
    """Features of the images as a protocol computes them."""
    with pynative():
        return FeatureExtractor(subject.backbone, MEAN, STD)(Tensor(IMAGES)).asnumpy()


@pytest.fixture(scope="module")
def exported(arrays):
    """The features that an export is checked against, by padding."""
    mean, std = (np.array(numbers, np.float32).reshape(1, 3, 1, 1) for numbers in (MEAN, STD))
    features = {}
    for padding in ("mindcv", "torch", "same"):
        network = networks.build(Weights(arrays, Card("resnet18", "imagenet", padding), "made here", []))
        features[padding] = networks.forward(network, (IMAGES - mean) / std)[0]
    assert np.abs(features["torch"] - features["same"]).max() > 0.01
    return features


@pytest.mark.parametrize("file", FILES)
def test_every_kind_of_file(arrays, exported, tmp_path, file):
    write, padding = FILES[file]
    path = tmp_path / file
    write(arrays, path)
    subject = open_subject(path, image_size=SIZE)
    np.testing.assert_allclose(score(subject), exported[padding], rtol=1e-4, atol=1e-4)
    assert (subject.card.model, subject.card.stem, subject.card.padding) == ("resnet18", "imagenet", padding)
    assert subject.digest == checkpoint.digest(backbone_of(arrays)) and not subject.backbone.training
    assert any(line.endswith(f"sha256 {subject.digest}") for line in describe(path))
    assert subject.path == str(path) and f"found {subject.found}" in describe(path)
    np.testing.assert_array_equal(subject.weights["online.backbone.conv1.weight"], backbone_of(arrays)["conv1.weight"])


def test_a_file_of_another_model_says_which(arrays, tmp_path):
    """With a card, and without one where the weights tell it."""
    checkpoint.write(tmp_path / "own.ckpt", backbone_of(arrays), Card(model="resnet18", kind="backbone"))
    write_zip(tmp_path / "a.pth", foreign.torchvision(arrays))
    for path in (tmp_path / "own.ckpt", tmp_path / "a.pth"):
        with pytest.raises(ValueError, match=f"^{path}: is a checkpoint of resnet18, not of resnet50; set --model res"):
            open_subject(path, "resnet50")
    with pytest.raises(ValueError, match="is a checkpoint of resnet18, not of densenet121"):
        open_subject(tmp_path / "own.ckpt", "densenet121")


def test_a_backbone_that_is_not_finite_is_not_scored(arrays, tmp_path):
    spoilt = {**backbone_of(arrays), "bn1.gamma": np.full(64, np.nan, np.float32)}
    checkpoint.write(tmp_path / "a.ckpt", spoilt, Card(kind="backbone", model="resnet18"))
    with pytest.raises(ValueError, match="a.ckpt: .*bn1.gamma holds 64 values that are NaN or infinite"):
        open_subject(tmp_path / "a.ckpt", "resnet18")


def test_what_the_file_does_not_say_is_left_to_the_caller(tmp_path):
    write_zip(tmp_path / "small.pth", foreign.torchvision(foreign.make(stem="small")))
    card = open_subject(tmp_path / "small.pth").card
    assert (card.stem, card.stages, card.mean, card.std) == ("small", 4, None, None)


RECIPE = ["--model", "resnet18", "--image_resize", str(SIZE)]
HEADS = ["--projector_hidden_size", "24", "--projection_size", "8", "--predictor_hidden_size", "24"]


def test_scoring_takes_any_file_and_leaves_the_recipe_as_it_is(arrays, exported, tmp_path, caplog):
    write_zip(tmp_path / "epoch_200.pth", {"state_dict": foreign.mmselfsup1(arrays), "meta": {"epoch": 200}})
    flags = ["--baselines", "True", "--padding", "mindcv", "--ckpt_path", str(tmp_path / "epoch_200.pth")]
    recipe = parse_args([*RECIPE, *flags], "validate")
    found = {subject.name: subject for subject in subjects.open_all(recipe)}
    assert list(found) == ["trained", "untrained", "pixels"] and recipe.padding == "mindcv"
    np.testing.assert_allclose(score(found["trained"]), exported["torch"], rtol=1e-4, atol=1e-4)
    assert "padding: the checkpoint's torch is used, not mindcv" in caplog.text
    assert type(found["untrained"].backbone.max_pool) is type(found["trained"].backbone.max_pool)


@pytest.mark.parametrize("flag", ["--ckpt_path", "--pretrained_from"])
def test_training_starts_from_any_file_and_leaves_the_recipe_as_it_is(arrays, tmp_path, flag):
    path = tmp_path / "theirs.ckpt"
    write_zip(path, {"state_dict": foreign.solo_learn(arrays)})
    args = parse_args([*RECIPE, *HEADS, flag, str(path)])
    start = read_start(args)
    assert start.card.padding == "torch"
    network = create_byol(args, start.card.padding)
    start_from(network, start.arrays, path)
    for name, parameter in network.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), arrays[name], err_msg=name)
    with pytest.raises(ValueError, match="theirs.ckpt: is a checkpoint of resnet18, not of resnet50; set --model"):
        read_start(parse_args(["--model", "resnet50", flag, str(path)]))


def test_training_with_fewer_stages_takes_the_first_of_a_file(arrays, tmp_path):
    path = tmp_path / "full.ckpt"
    checkpoint.write(path, arrays, Card(model="resnet18", kind="byol", mindbyol="0"))
    args = parse_args([*RECIPE, *HEADS, "--stages", "2", "--ckpt_path", str(path)])
    network = create_byol(args)
    start_from(network, read_start(args).arrays, path)
    for side in ("online", "target"):
        name = f"{side}.backbone.layer2.1.conv2.weight"
        np.testing.assert_array_equal(network.parameters_dict()[name].asnumpy(), arrays[name])
