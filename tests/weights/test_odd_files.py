"""Odd and damaged files, settings and folders, each of which was once taken as good or ended without a clear line."""

import json
import logging
import os
import resource
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import foreign
import numpy as np
import pytest
from test_embedding import _small_parts, embed, mean_colour, photos  # noqa: F401  (fixtures)

import mindspore as ms
from mindspore.train.checkpoint_pb2 import Checkpoint

from mindbyol import checkpoint
from mindbyol.checkpoint_entries import read_entries
from mindbyol.data import create_source
from mindbyol.data.mindrecord import write_split
from mindbyol.model_card import Card, parse_card
from mindbyol.weights import read_weights
from mindbyol.weights.convert import convert
from mindbyol.weights.export import export
from mindbyol.weights.files import open_weights
from mindbyol.weights.torch_files import write_zip

ROOT = Path(__file__).resolve().parents[2]


def small(path, **arrays):
    checkpoint.write(path, {"conv1.weight": np.arange(4, dtype=np.float32), **arrays}, Card(model="resnet18"))
    return path.read_bytes()


@pytest.mark.parametrize("entry", ["card", "digest"])
def test_texts_that_are_no_unicode(tmp_path, entry):
    path = tmp_path / "damaged.ckpt"
    whole = small(path)
    text = read_entries(path)[entry][:6].encode("utf-32-le")
    assert whole.count(text) == 1
    path.write_bytes(whole.replace(text, "\ud800".encode("utf-32-le", "surrogatepass") + text[4:]))
    with pytest.raises(ValueError, match="damaged.ckpt: is damaged: its contents do not match its digest"):
        checkpoint.read(path)


def test_entries_are_what_mindspore_reads(tmp_path):
    kinds = (np.int8, np.uint16, np.int32, np.int64, np.float16, np.float32, np.float64, np.bool_)
    tensors = {np.dtype(kind).name: ms.Tensor(np.array([[0, 1], [1, 1], [0, 0]], kind)) for kind in kinds}
    tensors.update(scalar=ms.Tensor(2.5), bfloat16=ms.Tensor([1.5, -2], ms.bfloat16))
    entries = [{"name": name, "data": tensor} for name, tensor in tensors.items()]
    path = tmp_path / "all.ckpt"
    texts = {"text": "Ünï", "number": 0.5, "count": 3, "yes": True}
    ms.save_checkpoint(entries, str(path), append_dict=texts, crc_check=True)
    found, expected = read_entries(path), ms.load_checkpoint(str(path))
    assert list(found) == list(expected) and found["text"] == "Ünï"
    for name in tensors:
        array = expected[name].asnumpy()
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def _first(change):
    """A damage to the first entry of a MindSpore checkpoint."""

    def damage(content):
        change(content.value[0].tensor)

    return damage


DAMAGES = (
    {  # with MindSpore's reader, the first two ended the process, the next two were filled with what lay in memory
        "too few bytes": (_first(lambda tensor: tensor.dims.append(1000)), "has 16 bytes"),
        "negative shape": (_first(lambda tensor: tensor.dims.__setitem__(0, -4)), "has 16 bytes"),
        "no shape": (_first(lambda tensor: tensor.ClearField("dims")), "has 16 bytes"),
        "no values": (_first(lambda tensor: setattr(tensor, "tensor_content", b"")), "has 0 bytes"),
        "huge shape": (_first(lambda tensor: tensor.dims.extend([2**40, 2**40])), "has 16 bytes"),
        "no such type": (
            _first(lambda tensor: setattr(tensor, "tensor_type", "Quaternion")),
            "of the type 'Quaternion'",
        ),
        "a text that is none": (_first(lambda tensor: setattr(tensor, "tensor_type", "str")), "is no text|digest"),
        "an entry twice": (lambda content: content.value.append(content.value[0]), "'conv1.weight' is there twice"),
    }
)


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_entries(tmp_path, capfd, what):
    damage, message = DAMAGES[what]
    path = tmp_path / "damaged.ckpt"
    content = Checkpoint.FromString(small(path))
    damage(content)
    path.write_bytes(content.SerializeToString())
    with pytest.raises(ValueError, match=f"damaged.ckpt: is truncated or not a MindSpore checkpoint .*{message}"):
        checkpoint.read(path)
    assert capfd.readouterr() == ("", "")


def test_slices_of_a_large_array(tmp_path):
    path = tmp_path / "sliced.ckpt"
    content = Checkpoint.FromString(small(path))
    content.value.insert(1, content.value[0])
    whole = content.value[0].tensor.tensor_content
    content.value[0].tensor.tensor_content, content.value[1].tensor.tensor_content = whole[:7], whole[7:]
    path.write_bytes(content.SerializeToString())
    arrays, _ = checkpoint.read(path)
    assert arrays["conv1.weight"].tolist() == [0, 1, 2, 3]


def test_a_wrong_checksum_and_a_broken_structure(tmp_path, capfd):
    path = tmp_path / "checked.ckpt"
    ms.save_checkpoint([{"name": "weight", "data": ms.Tensor([1.5])}], str(path), crc_check=True)
    raw = path.read_bytes()
    path.chmod(0o644)
    for damaged, message in ((raw[:-1] + b"\xff", "its checksum is wrong"), (raw[:-20], "its structure is broken")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"checked.ckpt: is truncated .*{message}"):
            checkpoint.read(path)
    assert capfd.readouterr() == ("", "")


def test_values_beyond_float32_without_a_warning(tmp_path):
    state = foreign.torchvision(foreign.make())
    state["bn1.weight"] = np.full(64, 1e39)
    write_zip(tmp_path / "large.pth", state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"large.pth: .*bn1.gamma holds 64 values that are NaN or infinite"):
            read_weights(tmp_path / "large.pth")


def test_features_that_are_not_finite_name_the_image(photos, tmp_path):  # noqa: F811
    with pytest.raises(RuntimeError, match=r"^album .*\.png has features that are NaN or infinite"):
        embed(photos, tmp_path / "out.npz", extractor=lambda images: mean_colour(images) / 0)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("shards", [{}, "", "ab"], ids=repr)
def test_shards_that_are_no_list(photos, tmp_path, shards):  # noqa: F811
    source = create_source("folder", str(photos), split=".")
    content = {"description": source.description, "images": len(source), "has_labels": False, "class_names": None}
    (tmp_path / "train.json").write_text(json.dumps({**content, "complete": False, "shards": shards}))
    with pytest.raises(ValueError, match="train.json: is damaged, or does not describe a split"):
        write_split(source, str(tmp_path), "train", 10**6)


@contextmanager
def full_disk():
    """No file of this process can grow beyond 100 bytes: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_only_one_line_about_a_checkpoint_that_cannot_be_written(tmp_path, capfd):
    with pytest.raises(OSError, match="cannot write checkpoint '.*a.ckpt': .*File too large"), full_disk():
        checkpoint.write(tmp_path / "a.ckpt", {"weight": np.zeros(1000, np.float32)}, Card())
    assert capfd.readouterr() == ("", "")
    assert os.listdir(tmp_path) == []
    assert logging.root.manager.disable == logging.NOTSET


def test_safetensors_that_cannot_be_written(tmp_path):
    write_zip(tmp_path / "a.pth", foreign.torchvision(foreign.make()))
    weights = read_weights(tmp_path / "a.pth")
    with pytest.raises(OSError, match="cannot write b.safetensors: .*File too large"), full_disk():
        export(weights, tmp_path / "b.safetensors", "safetensors")
    assert os.listdir(tmp_path) == ["a.pth"]


def test_a_file_that_is_there_but_cannot_be_read():
    with pytest.raises(ValueError, match="/proc/self/mem: cannot be read .Input/output error"):
        open_weights("/proc/self/mem")


def test_nothing_that_fits_is_no_checkpoint(tmp_path):
    write_zip(tmp_path / "a.pth", {name: np.zeros(5, np.float32) for name in ("conv1.weight", "bn1.running_mean")})
    with pytest.raises(ValueError, match="a.pth: nothing in it fits the backbone of resnet18"):
        convert(tmp_path / "a.pth", tmp_path / "b.ckpt", model="resnet18", allow_unmatched=True)
    assert os.listdir(tmp_path) == ["a.pth"]


def test_a_model_name_cannot_forge_lines():
    with pytest.raises(ValueError, match="as `model`, which must be a text on one line") as caught:
        parse_card(json.dumps({"model": "resnet18\nwrote x"}), "x.ckpt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"features": np.zeros(8, np.float32)},
        {"features": np.full((8, 3), np.nan, np.float32)},
        {"features": np.full((8, 3), "x")},
        {"names": np.array(["one.png"])},
        {"names": np.arange(8)},
    ],
    ids=["1-D", "NaN", "texts", "fewer names", "numbers as names"],
)
@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_parts_of_other_rows_are_damaged(photos, tmp_path, change, kind):  # noqa: F811
    output = tmp_path / f"out.{kind}"
    assert not embed(photos, output, rank=1, ranks=2)
    (part,) = output.with_name(f"{output.name}.parts").glob("*.npz")
    np.savez(part, **{**np.load(part), **change})
    with pytest.raises(RuntimeError, match="was damaged .* and is removed; start again"):
        embed(photos, output, rank=0, ranks=2)
    assert not output.exists() and not part.exists()
    assert embed(photos, output)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_lies_in_the_way_of_parts(photos, tmp_path, kind):  # noqa: F811
    place = tmp_path / "out.npz.parts"
    place.write_text("mine") if kind == "file" else place.symlink_to(photos)
    with pytest.raises(ValueError, match="out.npz.parts: is in the way of the folder for unfinished features"):
        embed(photos, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_a_working_folder_that_was_deleted(tmp_path):
    (tmp_path / "gone").mkdir()
    program = 'cd gone && rmdir ../gone && exec "$@"'
    command = ["bash", "-c", program, "bash", sys.executable, ROOT / "scripts/inspect_checkpoint.py", tmp_path / "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    expected = "error: the working folder has been deleted: change to another one\n"
    assert (done.returncode, done.stderr) == (1, expected)
