"""Transparent images lie on the recipe's background wherever images are read, and opaque ones are as they were."""

import cv2
import numpy as np
import pytest

from mindbyol.config import parse_args
from mindbyol.data import (
    EvalLoader,
    EvalTransform,
    LoaderSettings,
    PretrainLoader,
    TwoViewTransform,
    create_source,
    loader_settings_from_args,
    mindrecord,
)

BLUE = (0, 0, 255)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photos):
    """Four pictures: of every second one the left half cannot be seen, and hides garbage."""
    folder = tmp_path_factory.mktemp("transparent")
    for number in range(4):
        pixels = np.ascontiguousarray(photos[number % 2][:100, :100, ::-1])
        if number % 2:
            pixels = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
            pixels[:, :50] = (77, 0, 200, 0)
        assert cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return folder


def scored(source, **settings):
    (batch,) = EvalLoader(source, EvalTransform(16, 1.0), LoaderSettings(4, num_parallel_workers=1, **settings))
    return batch.arrays["image"]


def test_evaluation_sees_the_background_through_the_holes(folder):
    source = create_source("folder", folder)
    white, blue = scored(source), scored(source, background=BLUE)
    assert (white[1::2, :, :, :7] == 255).all()
    np.testing.assert_array_equal(blue[1, :, 3, 3], BLUE)
    np.testing.assert_array_equal(white[:, :, :, 9:], blue[:, :, :, 9:])
    np.testing.assert_array_equal(white[::2], blue[::2])


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_views_are_of_the_background_whoever_makes_them(folder, worker_type):
    settings = LoaderSettings(4, num_parallel_workers=1, worker_type=worker_type, background=BLUE)
    never = {"color_jitter_prob": 0, "grayscale_prob": 0, "blur_prob": 0, "solarize_prob": 0, "hflip": 0}
    plain = TwoViewTransform(16, scale=(1, 1), **never)
    ((first, _),) = PretrainLoader(create_source("folder", folder), plain, settings, 1)
    blue = (first[:, :, 8, 2] == BLUE).all(1)
    assert blue.sum() == 2


def test_mindrecord_gives_the_pixels_of_the_files(folder, tmp_path):
    source = create_source("folder", folder)
    mindrecord.write_split(source, tmp_path, "train", 1_000_000)
    for background in ((255, 255, 255), BLUE):
        shards = scored(create_source("mindrecord", tmp_path), background=background)
        np.testing.assert_array_equal(shards, scored(source, background=background))


def test_the_background_of_a_recipe_is_that_of_its_loaders():
    assert loader_settings_from_args(parse_args([])).background == (255, 255, 255)
    assert loader_settings_from_args(parse_args(["--background", "1,2,3"])).background == (1, 2, 3)
