"""Pictures and page of a run, from train.py to the commands that draw."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from mindbyol import checkpoint
from mindbyol.backbones import create_backbone
from mindbyol.commands import compare, map
from mindbyol.commands.of_checkpoint import recipe_flags
from mindbyol.config import parse_args
from mindbyol.data import source_from_args
from mindbyol.evaluation.subjects import open_trained
from mindbyol.model_card import Card
from tests import tiny_model  # noqa: F401  (registers the model)
from tests.tasks import tiny

PYNATIVE = ["--mode", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs with its report: the folder, and what train.py printed."""
    folder = tmp_path_factory.mktemp("pictures") / "a run"
    return folder, tiny.run(folder, report=True, epoch_size=2)


def test_a_run_ends_with_its_report(run):
    folder, printed = run
    assert f"report: {folder}/report.html" in printed and "WARNING" not in printed
    page = (folder / "report.html").read_text()
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings == ["Curves", "What the network sees", "Configuration", "Environment", "Next"]
    assert "finished: 2 epochs, 10 steps, 160 of 1442 images" in page and f"scripts/map.py &#x27;{folder}&#x27;" in page
    assert Image.open(folder / "views.png").size == (796, 196)  # two rows of eight
    assert 0 < json.loads((folder / "environment.json").read_text())["compile_seconds"] < 600
    assert "seconds until the first step was made" in page


def test_a_map_of_a_run_takes_its_newest_backbone_and_its_recipe(run, tmp_path, capsys):
    folder, _ = run
    map.main([str(folder), "-o", str(tmp_path / "out"), "--images", "60", "--queries", "2", *PYNATIVE])
    assert "60 of 60 of 355 images, 10 classes, digits val" in capsys.readouterr().out
    assert (
        Image.open(tmp_path / "out/map.png").width == 840 and Image.open(tmp_path / "out/neighbours.png").width == 1400
    )


@pytest.fixture
def photos(tmp_path):
    """A folder of images in two sub-folders, one of them no image, and a checkpoint of another place."""
    for number in range(12):
        file = tmp_path / "photos" / ("cats" if number % 2 else "$dogs") / f"{number}<b>猫.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 24), (20 * number, 255 - 20 * number, 99)).save(file)
    (tmp_path / "photos/cats/junk.png").write_text("no image")
    arrays = {p.name: p.asnumpy() for p in create_backbone("tiny", image_size=16).get_parameters()}
    card = Card(kind="backbone", model="tiny", stem="imagenet", padding="mindcv", image_resize=16)
    checkpoint.write(tmp_path / "tiny.ckpt", arrays, card)
    return tmp_path


def test_a_map_of_a_folder_needs_no_recipe_and_leaves_out_what_is_no_image(photos, capsys):
    map.main([str(photos / "tiny.ckpt"), "--data_dir", str(photos / "photos"), "--method", "pca", *PYNATIVE])
    assert "12 of 13 images, no labels, folder photos" in capsys.readouterr().out
    assert (photos / "map.png").exists() and (photos / "neighbours.png").exists()


def test_a_map_sees_the_background_through_the_holes(photos):
    folder = photos / "holes"
    folder.mkdir()
    for number in range(4):
        image = Image.new("RGBA", (20, 24), (60 * number, 99, 0, 255))
        image.paste((200, 0, 200, 0), (0, 0, 12, 24))
        image.save(folder / f"{number}.png")
    features = {}
    for colour in ("black", "white"):
        words = [str(photos / "tiny.ckpt"), "--data_dir", str(folder), "--background", colour, *PYNATIVE]
        map.main([*words, "--method", "pca", "-o", str(photos / colour)])
        sheet = np.array(Image.open(photos / colour / "neighbours.png").convert("RGB"))
        assert bool((sheet == 0).all(2).mean() > 0.1) is (colour == "black")
        recipe = parse_args(recipe_flags(words[0], words[1:]), "validate")
        subject = open_trained(recipe, words[0])
        features[colour], _ = map.features_of(recipe, subject, source_from_args(recipe, "train"))
    assert abs(features["black"] - features["white"]).max() > 0.1


def test_a_comparison_scores_draws_and_adds_to_the_report(run, tmp_path, capsys):
    folder, _ = run
    few = ["--num_samples", "200", "--few_labels", "1", "2", "--few_labels_draws", "2"]
    compare.main([str(folder), *few, *PYNATIVE])
    printed = capsys.readouterr().out
    rows = {line[:11].strip(): line.split() for line in printed.splitlines()}
    records = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    value = {(one["features"], one["score"]): one["value"] for one in records}
    assert {one["task"] for one in records} == {"compare"} and len(value) == len(records)
    for features, name in compare.NAMES.items():
        assert f"{value[features, 'knn20_top1']:.2f}" in rows[name]
        assert f"{value[features, 'changed_knn20_top1']:.2f}" in rows[name]
        assert f"{value[features, 'few_labels2_top1']:.1f}" in rows[name]
    assert "cropped to 55-90% of the area" in printed and "more than the training's augmentation does" in printed
    page = (folder / "report.html").read_text()
    assert "What the features are worth" in page and page.count("data:image/png") == 4 and "raw pixels" in page


@pytest.mark.parametrize(
    "command, words, message",
    [
        (map, ["{}/nowhere"], "nowhere: no such checkpoint, nor a folder"),
        (map, ["{}"], r"no \*_backbone.ckpt is in this folder"),
        (map, ["{}/tiny.ckpt"], "data_dir: which images"),
        (map, ["{}/tiny.ckpt", "--data_dir", "not here"], "data_dir: not here is not a folder, seen from /"),
        (map, ["{}/tiny.ckpt", "--data_dir", "{}/photos", "-o", "{}/tiny.ckpt/x"], "--output: .* cannot be a folder"),
        (compare, ["{}/tiny.ckpt", "--dataset", "digits", "-o", "/dev/null"], "--output: .* cannot be a folder"),
        (map, ["{}/tiny.ckpt", "--data_dir", "{}/photos", "--images", "2"], "--images: 2 is below 4"),
        (map, ["{}/tiny.ckpt", "--data_dir", "{}/photos", "--nonsense"], "--nonsense: no such flag"),
        (compare, ["{}/tiny.ckpt", "--data_dir", "{}/photos"], "no labels to score with"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line(photos, command, words, message):
    with pytest.raises(SystemExit, match=message) as error:
        command.main([word.format(photos) for word in words])
    assert "\n" not in str(error.value)
