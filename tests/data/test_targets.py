"""Masks, boxes and many labels an image, from files: they follow it through workers, padding and replacement."""

import cv2
import numpy as np
import pytest

from mindbyol.config import parse_args
from mindbyol.data.batch import BatchLayout
from mindbyol.data.decode import decode
from mindbyol.data.image_files import Subset
from mindbyol.data.keyed_random import permutation, uniform
from mindbyol.data.loader import EvalLoader, LoaderSettings, PretrainLoader
from mindbyol.data.sources import create_source
from mindbyol.data.views import EvalTransform
from mindbyol.evaluation.subjects import Scored
from mindbyol.evaluation.tools import Tools
from mindbyol.runtime import World

COUNT, CLASSES, MOST = 22, 20, 4


class Annotated:
    """Images 00.jpg, ..., with a mask 00.png and boxes 00.npy each, and twenty labels: 1, 0, or -1 for neither."""

    description, class_names = f"{COUNT} annotated images", None

    def __init__(self, folder):
        self.folder = folder
        self.labels = np.random.default_rng(1).integers(-1, 2, (COUNT, CLASSES)).astype(np.int8)

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return (self.folder / self.name(index)).read_bytes()

    def name(self, index):
        return f"{index:02d}.jpg"

    def target(self, index):
        file = self.folder / self.name(index)
        return decode(file.with_suffix(".png").read_bytes())[..., 0], np.load(file.with_suffix(".npy"))


class MaskAndBoxes:
    """Resizes and flips an image with its mask and boxes; fills up the boxes to `MOST`, and counts them."""

    takes_target = True

    def __init__(self, size):
        self.size = size

    def outputs(self):
        return {
            "image": ((3, self.size, self.size), np.uint8),
            "valid": ((MOST,), np.bool_),
            "boxes": ((MOST, 4), np.float32),
            "count": ((), np.int32),
            "mask": ((self.size, self.size), np.uint8),
        }

    def __call__(self, image, target, seed, epoch, index, out):
        mask, boxes = target
        flip = -1 if uniform(1, seed, epoch, index, view=0)[0] < 0.5 else 1
        pixels = cv2.resize(image, (self.size, self.size))[:, ::flip]
        out["image"][:] = pixels.transpose(2, 0, 1)
        out["mask"][:] = cv2.resize(mask, (self.size, self.size), interpolation=cv2.INTER_NEAREST)[:, ::flip]
        out["valid"][:] = np.arange(MOST) < len(boxes)
        out["boxes"][:] = 0
        out["boxes"][: len(boxes)] = boxes * self.size / image.shape[0]
        out["count"][...] = len(boxes)


TRANSFORM = MaskAndBoxes(24)


@pytest.fixture
def source(tmp_path, write_jpegs):
    write_jpegs(tmp_path, COUNT)
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), rng.integers(0, 21, (100, 150), np.uint8))
        np.save(tmp_path / f"{number:02d}.npy", rng.uniform(0, 99, (number % (MOST + 1), 4)).astype(np.float32))
    return Annotated(tmp_path)


def made(source, index, seed=0, epoch=0, used=None):
    """What the transform makes of image `used`, in the place of `index`."""
    used = index if used is None else used
    out = {name: np.empty(shape, dtype) for name, (shape, dtype) in TRANSFORM.outputs().items()}
    TRANSFORM(decode(source[used]), source.target(used), seed, epoch, index, out)
    return out


def check_row(batch, row, expected):
    assert list(batch.arrays) == list(expected)
    for name, array in expected.items():
        assert batch.arrays[name].dtype == array.dtype and batch.arrays[name].flags.c_contiguous
        np.testing.assert_array_equal(batch.arrays[name][row], array)


@pytest.mark.parametrize("worker_type", ["thread", "process"])
@pytest.mark.parametrize("damaged", ["05.jpg", "05.png"])
def test_training_batches_hold_images_with_their_targets_and_labels(source, caplog, worker_type, damaged):
    (source.folder / damaged).write_bytes(b"no image")
    settings = LoaderSettings(4, seed=3, num_parallel_workers=2, worker_type=worker_type)
    batches = list(PretrainLoader(source, TRANSFORM, settings, epochs=2).batches())
    assert len(batches) == 10
    seen = set()
    for number, batch in enumerate(batches):
        assert batch.counts.all() and batch.labels.dtype == np.int8
        np.testing.assert_array_equal(batch.labels, source.labels[batch.indices])
        for row, index in enumerate(permutation(3, number // 5, COUNT)[number % 5 * 4 :][:4].tolist()):
            used = 6 if index == 5 else index
            assert batch.indices[row] == used
            check_row(batch, row, made(source, index, 3, number // 5, used))
            seen.add(index)
    assert 5 in seen and caplog.text.count("05.jpg cannot be read") == 1


def test_a_training_step_gets_the_arrays_in_order_and_the_labels(source):
    loader = PretrainLoader(source, TRANSFORM, LoaderSettings(20, num_parallel_workers=1), epochs=1)
    (arrays,), (batch,) = loader, loader.batches()
    assert len(arrays) == 6
    for array, expected in zip(arrays, (*batch.arrays.values(), batch.labels)):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("worker_type", ["thread", "process"])
@pytest.mark.parametrize("damaged", ["05.jpg", "05.png"])
def test_rows_that_do_not_count_are_zero(source, worker_type, damaged):
    (source.folder / damaged).write_bytes(b"no image")
    settings = LoaderSettings(6, num_parallel_workers=2, worker_type=worker_type, on_bad_image="leave_out")
    batches = list(EvalLoader(source, TRANSFORM, settings))
    indices = np.concatenate([batch.indices for batch in batches])
    assert indices.tolist() == [-1 if index == 5 else index for index in range(COUNT)] + [-1, -1]
    for batch in batches:
        np.testing.assert_array_equal(batch.counts, batch.indices >= 0)
        for array in (*batch.arrays.values(), batch.labels):
            assert len(array) == 6 and not array[~batch.counts].any()
        for row in np.flatnonzero(batch.counts):
            check_row(batch, row, made(source, int(batch.indices[row]), settings.seed))
            np.testing.assert_array_equal(batch.labels[row], source.labels[batch.indices[row]])


def test_targets_of_a_subset_are_those_of_its_images(source):
    (batch,) = EvalLoader(Subset(source, [20, 3]), TRANSFORM, LoaderSettings(2, seed=0, num_parallel_workers=1))
    for row, index in enumerate((20, 3)):
        check_row(batch, row, made(source, row, used=index))
        np.testing.assert_array_equal(batch.labels[row], source.labels[index])


def test_a_target_that_cannot_be_read_stops_the_run_if_asked_to(source):
    (source.folder / "05.png").write_bytes(b"")
    with pytest.raises(RuntimeError, match="^05.jpg: the file is empty$"):
        list(EvalLoader(source, TRANSFORM, LoaderSettings(6, num_parallel_workers=1, on_bad_image="stop")))


def test_a_transform_that_takes_no_target_reads_none(source):
    for file in source.folder.glob("*.png"):
        file.unlink()
    assert len(list(EvalLoader(source, EvalTransform(16), LoaderSettings(11, on_bad_image="stop")))) == 2


def test_a_source_without_targets_is_refused():
    digits = create_source("digits", num_samples=20)
    with pytest.raises(ValueError, match="^dataset: 20 of 1442 images.* have no targets.* MaskAndBoxes needs; choose"):
        EvalLoader(digits, TRANSFORM, LoaderSettings(4))


def test_features_come_with_labels_of_any_shape(source):
    recipe = parse_args("--image_resize 8 --batch_size 4 --num_parallel_workers 1".split(), "validate")
    features, labels = Tools(recipe, World("CPU")).features(Scored("pixels", None), source)
    np.testing.assert_array_equal(labels, source.labels)
    assert labels.dtype == np.int8 and features.shape == (COUNT, 192) and features.dtype == np.float32


def test_arrays_of_a_block_do_not_overlap():
    layout = BatchLayout(TRANSFORM.outputs(), 5)
    arrays = layout.arrays(bytearray(layout.nbytes))
    for value, array in enumerate(arrays.values(), 1):
        array[...] = value
    assert [np.unique(array).tolist() for array in arrays.values()] == [[1], [1], [3], [4], [5]]
