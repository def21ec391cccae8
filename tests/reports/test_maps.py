"""The map of features and the sheets of neighbours."""

import io

import numpy as np
import pytest
from PIL import Image

from mindbyol.reports import drawing, maps, sheets


def clusters(count=3, size=20, width=12):
    random = np.random.default_rng(0)
    centres = np.eye(width)[:count]
    labels = np.repeat(np.arange(count), size)
    return (centres[labels] + 0.05 * random.standard_normal((count * size, width))).astype(np.float32), labels


@pytest.mark.parametrize("method", maps.METHODS)
def test_images_of_a_cluster_stay_together_and_the_map_is_the_same_each_time(method):
    features, labels = clusters()
    points, axes_are = maps.project(features, method, seed=3)
    assert points.shape == (60, 2) and any(axes_are) == (method == "pca")
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(1)] == labels).all()
    np.testing.assert_array_equal(maps.project(features, method, seed=3)[0], points)


def test_lengths_of_features_do_not_matter():
    features, _ = clusters()
    longer = features * np.linspace(1, 50, len(features), dtype=np.float32)[:, None]
    np.testing.assert_allclose(maps.project(longer, "pca")[0], maps.project(features, "pca")[0], atol=1e-5)


@pytest.mark.parametrize(
    "features, message",
    [(np.eye(3), "needs 4 images or more, and there are 3"), (np.ones((9, 4)), "all images have the same features")],
)
def test_what_has_no_map(features, message):
    with pytest.raises(ValueError, match=message):
        maps.project(features)


def test_features_of_few_numbers_and_few_images_have_one():
    assert maps.project(np.array([[1.0], [-1.0], [1.0], [-2.0]]), "pca")[0].shape == (4, 2)
    assert maps.project(np.eye(4), "tsne")[0].shape == (4, 2)


def test_few_groups_are_named_in_the_map_and_many_in_a_legend():
    points, groups = np.random.default_rng(0).random((400, 2)), np.arange(400) % 40
    few = maps.draw(points, ["", ""], groups % 3, ["cat", "dog", "$x$"], "three")
    assert sorted(text.get_text() for text in few.axes[0].texts) == ["$x$", "cat", "dog"] and not few.legends
    many = maps.draw(points, ["", ""], groups, [f"class {n}" for n in range(40)])
    shown = [text.get_text() for text in many.legends[0].get_texts()]
    assert len(shown) == 31 and shown[-1] == "others" and not many.axes[0].texts
    assert len(drawing.png(many)) > 1000
    plain = maps.draw(points, ["a", "b"])
    assert plain.axes[0].get_xlabel() == "a" and not plain.legends


def pixels(figure):
    return np.array(Image.open(io.BytesIO(drawing.png(figure, photographs=True))).convert("RGB"))


def share(image, colour):
    wanted = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
    return float((np.abs(image.astype(int) - wanted).max(2) < 12).mean())


def tile(value, **more):
    return sheets.Tile(np.full((8, 8, 3), value, np.uint8), "name", **more)


def test_a_sheet_shows_its_images_and_marks_those_of_another_class():
    red = np.zeros((300, 300, 3), np.uint8)
    red[..., 0] = 255
    rows = {"": [sheets.Tile(red, "a", "0.90"), sheets.Tile(None, "b")]}
    plain = pixels(sheets.draw_neighbours([sheets.Block(tile(100), rows)], "two\nlines"))
    assert share(plain, "#ff0000") > 0.1 and share(plain, "#646464") > 0.1
    assert share(plain, drawing.WRONG) == share(plain, drawing.RIGHT) == 0
    rows = {"BYOL": [tile(200, right=True)] * 2, "pixels": [tile(200, right=True), tile(200, right=False)]}
    marked = pixels(sheets.draw_neighbours([sheets.Block(tile(100), rows)] * 3, across=2))
    assert share(marked, drawing.WRONG) > 0.001 and share(marked, drawing.RIGHT) > 0.001
