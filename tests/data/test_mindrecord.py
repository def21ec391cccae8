"""MindRecord shards: the views of the files they were made from, and MindSpore's own reader agrees."""

import json
import pickle

import numpy as np
import pytest

import mindspore.dataset as ds

from mindbyol.commands import make_mindrecord
from mindbyol.data import LoaderSettings, PretrainLoader, TwoViewTransform, create_source
from mindbyol.data import mindrecord as module
from mindbyol.data.decode import decode


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_jpegs):
    folder = tmp_path_factory.mktemp("imagenet")
    for name, first in (("a", 0), ("b", 12)):
        (folder / "train" / name).mkdir(parents=True)
        write_jpegs(folder / "train" / name, 12, first)
    (folder / "train" / "a" / "03.jpg").write_bytes(b"damaged")
    return folder


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("shards")
    module.write_split(create_source("imagenet", folder), output, "train", shard_bytes=60_000)
    return output


def test_shards_hold_the_files(folder, shards):
    files, records = create_source("imagenet", folder), create_source("mindrecord", shards)
    assert len(list(shards.glob("*.mindrecord"))) > 2
    assert len(records) == 24 and all(records[i] == files[i] and records.name(i) == files.name(i) for i in range(24))
    np.testing.assert_array_equal(records.labels, files.labels)
    assert records.class_names == ["a", "b"] and records.labels.dtype == np.int32
    assert records.description == "24 images, 2 classes, imagenet train (MindRecord)"
    copy = pickle.loads(pickle.dumps(records))
    assert copy[23] == files[23]


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_views_are_those_of_the_files(folder, shards, worker_type):
    settings = LoaderSettings(8, seed=5, num_parallel_workers=2, worker_type=worker_type)
    files, records = (
        [batch for batch in PretrainLoader(source, TwoViewTransform(size=32), settings, epochs=1)]
        for source in (create_source("imagenet", folder), create_source("mindrecord", shards))
    )
    assert len(files) == len(records) == 3
    for batch, other in zip(files, records):
        for array, expected in zip(other, batch):
            np.testing.assert_array_equal(array, expected)


def test_mindspore_reads_the_shards(folder, shards):
    files = create_source("imagenet", folder)
    dataset = ds.MindDataset([str(file) for file in sorted(shards.glob("*.mindrecord"))], shuffle=False)
    rows = list(dataset.create_dict_iterator(output_numpy=True, num_epochs=1))
    assert [int(row["number"]) for row in rows] == list(range(24))
    assert all(row["image"].tobytes() == files[i] and row["label"] == files.labels[i] for i, row in enumerate(rows))


def test_pixels_are_stored_without_loss(tmp_path, capsys):
    make_mindrecord.main(
        ["--dataset", "digits", "--output_dir", str(tmp_path), "--split", "val", "--num_samples", "20"]
    )
    assert "--dataset mindrecord" in capsys.readouterr().out
    digits, records = create_source("digits", split="val", num_samples=20), create_source("mindrecord", tmp_path, "val")
    for index in range(20):
        np.testing.assert_array_equal(decode(records[index]), digits[index])
    np.testing.assert_array_equal(records.labels, digits.labels)


def test_it_goes_on_where_it_was_stopped(folder, shards, tmp_path, monkeypatch):
    source = create_source("imagenet", folder)
    write, calls = module._write_shard, []

    def stops(*arguments):
        calls.append(arguments[1])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(module, "_write_shard", stops)
    with pytest.raises(KeyboardInterrupt):
        module.write_split(source, tmp_path, "train", 60_000)
    with pytest.raises(ValueError, match="train.json is not complete; start make_mindrecord.py again"):
        create_source("mindrecord", tmp_path)
    module.write_split(source, tmp_path, "train", 60_000)
    assert calls[2] == calls[3] > 0 and len(set(calls)) == len(calls) - 1
    assert json.loads((tmp_path / "train.json").read_text()) == json.loads((shards / "train.json").read_text())
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_another_data_set_in_the_folder_is_an_error(shards):
    with pytest.raises(ValueError, match="^output_dir: .*train.json is of another data set .24 images"):
        module.write_split(create_source("digits"), shards, "train", 60_000)


def test_what_reads_back_wrong_is_an_error(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LENGTH_BYTES", 7)
    with pytest.raises(RuntimeError, match="^output_dir: .*a/00.jpg does not read back as it was written"):
        module.write_split(create_source("imagenet", folder), tmp_path, "train", 10**6)


def test_missing_and_damaged_shards_are_named(shards, tmp_path):
    with pytest.raises(FileNotFoundError, match="^data_dir: .*val.json is not there; splits in .*: train"):
        create_source("mindrecord", shards, "val")
    for file in shards.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = (tmp_path / "train-00001.mindrecord").read_bytes()
    (tmp_path / "train-00001.mindrecord").write_bytes(content[: len(content) // 3])
    with pytest.raises(ValueError, match="train-00001.mindrecord: is damaged"):
        create_source("mindrecord", tmp_path)
    (tmp_path / "train-00001.mindrecord").unlink()
    with pytest.raises(FileNotFoundError, match="train-00001.mindrecord: it, or its index"):
        create_source("mindrecord", tmp_path)


DAMAGED = "train.json: is damaged, or does not describe a split; make the split again"


@pytest.mark.parametrize(
    "change",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        {"shards": []},
        {"shards": "x"},
        {"shards": [{"file": "../train-00000.mindrecord", "first": 0, "images": 9}]},
        {"shards": [{"file": "train-00000.mindrecord", "first": 0, "images": "x"}]},
        {"class_names": 5},
        {"class_names": None},
    ],
)
def test_a_damaged_description_is_named(shards, tmp_path, change):
    if isinstance(change, dict):
        change = json.dumps({**json.loads((shards / "train.json").read_text()), **change}).encode()
    (tmp_path / "train.json").write_bytes(change)
    with pytest.raises(ValueError, match=DAMAGED):
        create_source("mindrecord", tmp_path)


@pytest.mark.parametrize("suffix", ["", ".db"])
@pytest.mark.parametrize("content", [b"", b"\xff" * 5000])
def test_a_damaged_shard_is_named(shards, tmp_path, suffix, content):
    for file in shards.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / f"train-00001.mindrecord{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match="train-00001.mindrecord: it, or its index .*, is damaged; make it again"):
        create_source("mindrecord", tmp_path)


@pytest.mark.parametrize("change", [{"class_names": ["a"]}, {"images": 10**12}])
def test_a_description_that_is_not_of_these_shards_is_refused(shards, tmp_path, change):
    for file in shards.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = json.loads((shards / "train.json").read_text())
    if "images" in change:
        content["shards"][0].update(change)
    else:
        content.update(change)
    (tmp_path / "train.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="mindrecord: is damaged, or from another split; make it again"):
        create_source("mindrecord", tmp_path)
