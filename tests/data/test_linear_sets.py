"""Places205 and iNaturalist 2018 in folders of their layouts, made of small real JPEGs."""

import json
import shutil

import cv2
import pytest
from sklearn.datasets import load_sample_images

from mindbyol.data.sources import create_source

PLACES = "data/vision/torralba/deeplearning/images256"


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory):
    path = tmp_path_factory.mktemp("jpeg") / "one.jpg"
    cv2.imwrite(str(path), load_sample_images().images[0][:40, :60])
    return path


def put(root, names, jpeg):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(jpeg, root / name)


@pytest.fixture
def places(tmp_path, jpeg):
    names = [f"{chr(97 + label % 26)}/place_{label}/gsun_{label}.jpg" for label in range(205)]
    put(tmp_path / PLACES, names, jpeg)
    (tmp_path / "trainvalsplit_places205").mkdir()
    text = "".join(f"{name} {label}\n" for label, name in enumerate(names))
    (tmp_path / "trainvalsplit_places205/train_places205.csv").write_text(text)
    (tmp_path / "trainvalsplit_places205/val_places205.csv").write_text(text.replace(" ", ","))
    return tmp_path


def test_places_as_published_and_with_commas(places):
    for split in ("train", "val"):
        source = create_source("places205", str(places), split)
        assert len(source) == 205 and source.labels[:3].tolist() == [0, 1, 2] and len(source.class_names) == 205
        assert source[204][:2] == b"\xff\xd8" and source.name(1) == "b/place_1/gsun_1.jpg"


def test_the_lists_of_openselfsup(places):
    (places / "meta").mkdir()
    (places / "trainvalsplit_places205/train_places205.csv").rename(places / "meta/train_labeled.txt")
    assert create_source("places205", str(places), "train").description == "205 images, 205 classes, places205 train"


def test_images_that_are_missing_are_counted_and_ten_are_named(places):
    for label in range(100, 112):
        shutil.rmtree(places / PLACES / f"{chr(97 + label % 26)}/place_{label}")
    with pytest.raises(FileNotFoundError, match="12 of the images that .*train_places205.csv names") as error:
        create_source("places205", str(places), "train")
    assert str(error.value).count("gsun_") == 10 and "and 2 more" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "line, message",
    [
        ("a/place_0/gsun_0.jpg 205", "is 205, and there are 205 classes"),
        ("a/place_0/gsun_0.jpg", "csv:206: 'a/place_0/gsun_0.jpg' is not a path and a label"),
        ("../gsun_0.jpg 0", "is not below"),
    ],
)
def test_bad_lines(places, line, message):
    file = places / "trainvalsplit_places205/train_places205.csv"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message):
        create_source("places205", str(places), "train")


def test_a_class_without_an_image_and_a_split_that_is_not_there(places):
    file = places / "trainvalsplit_places205/train_places205.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match="names no image of 1 of the 205 classes: 204"):
        create_source("places205", str(places), "train")
    with pytest.raises(ValueError, match="split 'test' is none of places205; it has train and val"):
        create_source("places205", str(places), "test")
    with pytest.raises(FileNotFoundError, match="has none of the lists train2018.json, .* of inaturalist2018"):
        create_source("inaturalist2018", str(places), "train")


def test_inaturalist_as_published(tmp_path, jpeg):
    names = [f"train_val2018/{kind}/{number}.jpg" for number, kind in enumerate(("Aves/7", "Plantae/3", "Aves/7"))]
    put(tmp_path, names, jpeg)
    content = {
        "images": [{"id": 10 + number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [{"image_id": 12, "category_id": 7}, {"image_id": 11, "category_id": 3}]
        + [{"image_id": 10, "category_id": 7}],
        "categories": [{"id": 7, "name": "Corvus corax"}, {"id": 3, "name": "Bellis perennis"}],
    }
    (tmp_path / "val2018.json").write_text(json.dumps(content))
    source = create_source("inaturalist2018", str(tmp_path), "val")
    assert source.labels.tolist() == [1, 0, 1] and source.class_names == ["Bellis perennis", "Corvus corax"]
    for damaged in ({**content, "annotations": content["annotations"][:2]}, [], {}):
        (tmp_path / "val2018.json").write_text(json.dumps(damaged))
        with pytest.raises(ValueError, match="val2018.json is damaged: no images, annotations"):
            create_source("inaturalist2018", str(tmp_path), "val")
