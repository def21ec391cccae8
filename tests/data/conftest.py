"""Real photographs as files, made once from those that scikit-learn carries."""

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_images


@pytest.fixture(scope="session")
def photos():
    """Two photographs, uint8 RGB, about 200 x 130 pixels."""
    return [cv2.resize(image, (200, 133), interpolation=cv2.INTER_AREA) for image in load_sample_images().images]


@pytest.fixture(scope="session")
def write_jpegs(photos):
    """A function that writes `count` different crops of the photographs to a folder, as 00.jpg, 01.jpg, ..."""

    def write(folder, count, first=0):
        rng = np.random.default_rng(first)
        for number in range(first, first + count):
            photo = photos[number % len(photos)]
            top, left = rng.integers(0, 30, 2)
            crop = np.ascontiguousarray(photo[top : top + 100, left : left + 150, ::-1])
            assert cv2.imwrite(str(folder / f"{number:02d}.jpg"), crop)

    return write


@pytest.fixture(scope="session")
def jpegs(tmp_path_factory, write_jpegs):
    """A folder of 24 different JPEG files."""
    folder = tmp_path_factory.mktemp("jpegs")
    write_jpegs(folder, 24)
    return folder
