"""Model cards that were written by nobody in good faith: one line that names the file, whatever holds the card."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import foreign
import numpy as np
import pytest
from safetensors.numpy import save_file

import mindspore as ms

from mindbyol import checkpoint
from mindbyol.model_card import Card, parse_card
from mindbyol.weights import read_weights
from mindbyol.weights.describe import describe
from mindbyol.weights.torch_files import CARD_ENTRY, write_zip

ROOT = Path(__file__).resolve().parents[2]
RUN = {"config": {}, "log": {}}
GOOD = {
    "model": "resnet18",
    "stem": "small",
    "padding": "torch",
    "stages": 3,
    "image_resize": 16,
    "mean": [1, 2.5, 3],
    "std": [1, 2, 3],
    "recipe": None,
    "data": "8 images",
    "epoch": 0,
    "step": 5,
    "run": RUN,
    "scores": {"knn": [1, {"a": None}]},
}
BAD = {
    "no JSON": ("{", "no JSON"),
    "not UTF-8": (b"\xff\xfe\xff", "no JSON"),
    "a list": ("[1]", r"\[1\], not a JSON object"),
    "a number": ("7", "7, not a JSON object"),
    "deep": ('{"a":' + "[" * 100000 + "]" * 100000 + "}", "nested too deep"),
    "rather deep": ('{"a":' + "[" * 50 + "]" * 50 + "}", "nested deeper than 20"),
    "a long number": ('{"step": 1' + "0" * 5000 + "}", "no JSON|as `step`"),
    "model": ('{"model": 5}', "5 as `model`, which must be a text"),
    "stem": ('{"stem": ["small"]}', r"\[\"small\"\] as `stem`, which must be imagenet or small"),
    "padding": ('{"padding": "zero"}', "as `padding`, which must be mindcv, torch or same"),
    "stages": ('{"stages": "x"}', '"x" as `stages`, which must be 1, 2, 3 or 4'),
    "stages truth": ('{"stages": true}', "true as `stages`"),
    "image_resize": ('{"image_resize": 1000000000}', "1000000000 as `image_resize`"),
    "mean": ('{"mean": [1, NaN, 2]}', r"\[1, NaN, 2\] as `mean`, which must be three numbers"),
    "std": ('{"std": [1, 0, 2]}', "as `std`, which must be three numbers above 0"),
    "step": ('{"step": "7"}', '"7" as `step`, which must be a whole number'),
    "epoch": ('{"epoch": -1}', "-1 as `epoch`"),
    "run": ('{"run": []}', r"\[\] as `run`, which must be an object with `config` and `log`"),
    "run without log": ('{"run": {"config": {}}}', "as `run`"),
    "run without data": (json.dumps({"run": RUN, "step": 1}), "has a `run`, but no `data`"),
    "run without step": (json.dumps({"run": RUN, "data": "x"}), "has a `run`, but no `step`"),
    "recipe": ('{"recipe": 5}', "5 as `recipe`, which must be a text"),
    "epoch_size": ('{"epoch_size": "x"}', '"x" as `epoch_size`, which must be a whole number'),
    "a long text": (json.dumps({"stages": "x" * 10**6}), r'"x{39}\.\.\. as `stages`'),
}


def test_a_good_card():
    card = parse_card(json.dumps(GOOD), "a.ckpt")
    assert (card.model, card.stages, card.mean, card.run) == ("resnet18", 3, [1, 2.5, 3], RUN)
    assert card.recipe is None and card.more == {"scores": GOOD["scores"]}
    assert card.to_dict() == {key: value for key, value in GOOD.items() if value is not None}
    assert Card.from_dict(card.to_dict(), "a.ckpt") == card
    for nothing in (None, "{}", '{"model": null, "stages": null}'):
        assert parse_card(nothing, "a.ckpt") == Card()


def test_what_a_card_does_not_say():
    assert (Card().stages, Card().model, Card().mean) == (4, None, None)
    sizes = [Card().image_size, Card(stem="small").image_size, Card(stem="small", image_resize=96).image_size]
    assert sizes == [224, 32, 96]


def test_a_key_that_is_called_more_is_kept():
    assert Card.from_dict({"more": 1}, "a.ckpt").to_dict() == {"more": 1, "stages": 4}


@pytest.mark.parametrize("case", BAD)
def test_one_line_that_names_the_file(case):
    text, message = BAD[case]
    with pytest.raises(ValueError, match=f"^a.ckpt: its model card (.*{message})") as error:
        parse_card(text, "a.ckpt")
    assert len(str(error.value)) < 200 and "\n" not in str(error.value)


@pytest.fixture(scope="module")
def backbone():
    return foreign.part(foreign.make(), "online.backbone.")


def write_checkpoint(path, arrays, text):
    """As `checkpoint.write` does, with a card of any text."""
    entries = [{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()]
    ms.save_checkpoint(entries, str(path), append_dict={"card": text, "digest": checkpoint.digest(arrays, text)})


def containers(folder, arrays, text):
    """The files that can be written by hand with a card of any text; MINDIR and ONNX are read by the same function."""
    write_zip(folder / "a.pth", foreign.torch_names(arrays))
    with zipfile.ZipFile(folder / "a.pth", "a") as archive:
        archive.writestr(f"archive/{CARD_ENTRY}", text)
    save_file(foreign.torch_names(arrays), folder / "a.safetensors", {"card": text})
    write_checkpoint(folder / "a.ckpt", arrays, text)
    return [folder / "a.pth", folder / "a.safetensors", folder / "a.ckpt"]


@pytest.mark.parametrize("case", ["a list", "deep", "model", "stages"])
def test_every_container(backbone, tmp_path, case):
    text, message = BAD[case]
    for path in containers(tmp_path, backbone, text):
        with pytest.raises(ValueError, match=f"^{path}: its model card .*{message}"):
            read_weights(path)


def test_a_checkpoint_of_before_cards_had_a_type(backbone, tmp_path):
    """Its text is another than the one that is written now, and its digest holds."""
    text = json.dumps({"model": "resnet18", "recipe": None, "data": "8 images", "step": 5, "kind": "byol", "run": RUN})
    arrays = {f"online.backbone.{name}": array for name, array in backbone.items()}
    write_checkpoint(tmp_path / "a.ckpt", arrays, text)
    assert checkpoint.read(tmp_path / "a.ckpt")[1] == Card("resnet18", data="8 images", step=5, kind="byol", run=RUN)
    assert read_weights(tmp_path / "a.ckpt").card.recipe is None


def test_the_command_says_it_in_one_line(tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", {"w": np.ones(1, np.float32)}, "[1, 2]")
    for script in ("inspect_checkpoint.py", "export.py"):
        arguments = ["--format", "mindcv", "-o", "b.ckpt"] if script == "export.py" else []
        command = [sys.executable, ROOT / "scripts" / script, tmp_path / "a.ckpt", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr == f"error: {tmp_path / 'a.ckpt'}: its model card is [1, 2], not a JSON object\n"


def test_a_card_cannot_forge_lines(backbone, tmp_path):
    checkpoint.write(tmp_path / "a.ckpt", backbone, Card(model="resnet18", recipe="x\n\x1b[2Kcard: step: 9\udc80"))
    lines = describe(tmp_path / "a.ckpt")
    assert r"card: recipe:    x\n\x1b[2Kcard: step: 9\udc80" in lines
    assert all(line.isprintable() for line in lines)
