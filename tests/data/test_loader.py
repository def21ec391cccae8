"""The loaders, on real JPEG files: what a batch holds, whoever makes it, and what happens when they fail."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from mindbyol.data.decode import DataError, decode
from mindbyol.data.keyed_random import permutation
from mindbyol.data.loader import EvalLoader, LoaderSettings, PretrainLoader
from mindbyol.data.sources import create_source
from mindbyol.data.views import EvalTransform, TwoViewTransform
from tests.processes import Hangs

TRANSFORM = TwoViewTransform(size=32)


@pytest.fixture(scope="module")
def source(jpegs):
    return create_source("folder", jpegs)


def run(source, **arguments):
    """All batches of two epochs, as one array of shape (batches, views, batch, 3, size, size)."""
    where = {key: arguments.pop(key) for key in ("start_batch", "batches_per_epoch") if key in arguments}
    settings = LoaderSettings(**{"batch_size": 8, "seed": 7, "num_parallel_workers": 1, **arguments})
    return np.array([views[:2] for views in PretrainLoader(source, TRANSFORM, settings, 2, **where)])


@pytest.fixture(scope="module")
def expected(source):
    return run(source)


def test_batches_hold_the_views_of_the_permuted_images(source, expected):
    assert expected.shape == (6, 2, 8, 3, 32, 32)
    for number, batch in enumerate(expected):
        order = permutation(7, number // 3, 24)
        for row, index in enumerate(order[number % 3 * 8 :][:8]):
            views = TRANSFORM(decode(source[index]), 7, number // 3, int(index))
            np.testing.assert_array_equal(batch[:, row], list(views.values()))


def test_epochs_and_seeds_differ(source, expected):
    assert not np.array_equal(expected[:3], expected[3:])
    assert not np.array_equal(expected, run(source, seed=8))


@pytest.mark.parametrize("worker_type, workers", [("thread", 2), ("thread", 8), ("process", 1), ("process", 2)])
def test_workers_do_not_change_a_bit(source, expected, worker_type, workers):
    np.testing.assert_array_equal(run(source, worker_type=worker_type, num_parallel_workers=workers), expected)


def test_two_ranks_make_the_batches_of_one(source, expected):
    halves = [run(source, batch_size=4, rank=rank, ranks=2) for rank in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves, axis=2), expected)


@pytest.mark.parametrize("start", [1, 3, 5])
def test_a_restart_goes_on_exactly(source, expected, start):
    np.testing.assert_array_equal(run(source, start_batch=start), expected[start:])


def test_a_restart_decodes_nothing_of_what_is_skipped(source):
    class Counting:
        labels, description = None, "24 images"
        asked = []

        def __len__(self):
            return len(source)

        def __getitem__(self, index):
            self.asked.append(index)
            return source[index]

    settings = LoaderSettings(8, seed=7, num_parallel_workers=1)
    list(PretrainLoader(Counting(), TRANSFORM, settings, epochs=2, start_batch=4))
    assert Counting.asked == permutation(7, 1, 24)[8:].tolist()


def test_the_number_of_batches_can_be_lowered(source, expected):
    batches = run(source, batches_per_epoch=2)
    np.testing.assert_array_equal(batches, expected[[0, 1, 3, 4]])


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_a_batch_that_is_held_does_not_change(source, expected, worker_type):
    settings = LoaderSettings(8, seed=7, num_parallel_workers=2, worker_type=worker_type)
    held = [views for views in PretrainLoader(source, TRANSFORM, settings, 2)]
    np.testing.assert_array_equal(np.array(held), expected)
    assert all(view.flags.c_contiguous and view.dtype == np.uint8 for views in held for view in views)


def test_labels_follow_their_images():
    source = create_source("digits")
    loader = PretrainLoader(source, TRANSFORM, LoaderSettings(64, seed=3, num_parallel_workers=1), epochs=1)
    labels = np.concatenate([labels for _, _, labels in loader])
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, source.labels[permutation(3, 0, len(source))[: len(labels)]])


def test_a_data_set_smaller_than_a_batch_is_an_error(source):
    with pytest.raises(ValueError, match=r"^batch_size: a batch takes 16 x 2 devices images, and there are 24 images"):
        PretrainLoader(source, TRANSFORM, LoaderSettings(16, ranks=2), epochs=1)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"batch_size": 0}, "batch_size: 0 is below 1"),
        ({"num_parallel_workers": 0}, "num_parallel_workers: 0 is below 1"),
        ({"rank": 2, "ranks": 2}, r"rank: 2 is not one of 0\.\.1"),
        ({"worker_type": "fibre"}, "worker_type: 'fibre' is not known; choose one of thread, process"),
        ({"on_bad_image": "cry"}, "on_bad_image: 'cry' is not known; choose one of skip, skip_any, stop, leave_out"),
        ({"on_bad_image": "leave_out"}, "on_bad_image: leave_out makes batches with gaps"),
    ],
)
def test_wrong_settings_are_named(source, wrong, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        PretrainLoader(source, TRANSFORM, LoaderSettings(**{"batch_size": 8, **wrong}), epochs=1)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_evaluation_sees_each_image_once_in_order(ranks):
    source = create_source("digits", split="val")
    transform = EvalTransform(size=16, crop_pct=1.0)
    settings = [LoaderSettings(32, rank=rank, ranks=ranks, num_parallel_workers=2) for rank in range(ranks)]
    loaders = [EvalLoader(source, transform, one) for one in settings]
    assert len({len(loader) for loader in loaders}) == 1
    images, labels, indices = [], [], []
    for loader in loaders:
        batches = list(loader)
        assert len(batches) == len(loader)
        for batch in batches:
            assert batch.arrays["image"].shape == (32, 3, 16, 16) and batch.labels.shape == (32,)
            assert not batch.arrays["image"][~batch.counts].any() and not batch.labels[~batch.counts].any()
            images.append(batch.arrays["image"][batch.counts])
            labels.append(batch.labels[batch.counts])
            indices.append(batch.indices[batch.counts])
    np.testing.assert_array_equal(np.concatenate(indices), np.arange(len(source)))
    np.testing.assert_array_equal(np.concatenate(labels), source.labels)
    np.testing.assert_array_equal(np.concatenate(images), [transform(image)["image"] for image in source])


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_closing_early_ends_the_workers(source, worker_type):
    before = threading.active_count()
    settings = LoaderSettings(8, num_parallel_workers=2, worker_type=worker_type)
    batches = iter(PretrainLoader(source, TRANSFORM, settings, 100))
    next(batches)
    batches.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert threading.active_count() <= before


def test_a_killed_worker_process_is_an_error_with_its_cause(source):
    settings = LoaderSettings(8, num_parallel_workers=1, worker_type="process")
    loader = PretrainLoader(source, _KillsItself(), settings, epochs=1)
    with pytest.raises(DataError, match="^worker_type: a data worker process died.*SIGKILL"):
        list(loader)


class _KillsItself(TwoViewTransform):
    def __call__(self, image, seed, epoch, index, out):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_hangs_is_an_error(tmp_path, source, monkeypatch):
    monkeypatch.setattr("mindbyol.data.loader.TIMEOUT", 2.0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    hanging = PretrainLoader(source, Hangs(pipe), LoaderSettings(24, num_parallel_workers=2), epochs=1)
    with pytest.raises(DataError, match="^data_dir: no data worker finished an image for 2 s.*24 images"):
        list(hanging)
    open(pipe, "wb").close()  # Lets the thread go.


def test_an_error_in_a_worker_reaches_the_consumer(source):
    class Wrong(TwoViewTransform):
        def __call__(self, image, seed, epoch, index, out):
            raise ZeroDivisionError("wrong")

    with pytest.raises(ZeroDivisionError, match="wrong"):
        list(PretrainLoader(source, Wrong(), LoaderSettings(8, num_parallel_workers=2), epochs=1))


@pytest.fixture
def damaged(tmp_path, write_jpegs):
    """24 JPEG files, of which 05.jpg is cut off."""
    write_jpegs(tmp_path, 24)
    content = (tmp_path / "05.jpg").read_bytes()
    (tmp_path / "05.jpg").write_bytes(content[: len(content) // 2])
    return create_source("folder", tmp_path)


@pytest.mark.parametrize("worker_type, ranks", [("thread", 1), ("process", 1), ("thread", 2)])
def test_a_bad_image_is_replaced_by_the_next(damaged, tmp_path, caplog, worker_type, ranks):
    output = tmp_path / "output"
    output.mkdir()
    arguments = {"batch_size": 8 // ranks, "worker_type": worker_type, "num_parallel_workers": 2, "ranks": ranks}
    parts = [run(damaged, rank=rank, output_dir=output, **arguments) for rank in range(ranks)]
    batches = np.concatenate(parts, axis=2)
    for epoch in range(2):
        row = permutation(7, epoch, 24).tolist().index(5)
        views = TRANSFORM(decode(damaged[6]), 7, epoch, 5)
        np.testing.assert_array_equal(batches[epoch * 3 + row // 8][:, row % 8], list(views.values()))
    assert (output / "bad_images.txt").read_text() == "05.jpg\tthe JPEG file is cut off\n"
    assert caplog.text.count("05.jpg cannot be read") == 1


def test_the_label_of_a_replaced_image_is_that_of_its_substitute(tmp_path, write_jpegs):
    for name, label in (("a", 0), ("b", 1)):
        (tmp_path / "train" / name).mkdir(parents=True)
        write_jpegs(tmp_path / "train" / name, 4, first=4 * label)
    (tmp_path / "train" / "a" / "03.jpg").write_bytes(b"")
    source = create_source("imagenet", tmp_path)
    ((_, _, labels),) = PretrainLoader(source, TRANSFORM, LoaderSettings(8, num_parallel_workers=1), 1)
    assert labels[np.argsort(permutation(42, 0, 8))].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


def test_more_than_one_percent_of_bad_images_stop_the_run(damaged, tmp_path):
    (tmp_path / "07.jpg").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"(?s)^dataset: 2 of 24 images.*05.jpg \(the JPEG file is cut off\).*07.jpg \(not an"
    ):
        run(damaged)


def test_a_bad_image_stops_the_run_at_once_if_asked_to(damaged):
    with pytest.raises(DataError, match="^05.jpg: the JPEG file is cut off"):
        run(damaged, on_bad_image="stop")


def test_a_folder_without_a_readable_image_is_an_error(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="^dataset: 8 images in a row, from .*cannot be read"):
        run(create_source("folder", tmp_path))


@pytest.mark.parametrize("worker_type", ["thread", "process"])
def test_memory_does_not_grow_with_epochs(source, worker_type):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    transform = TwoViewTransform(size=64)  # Batches of 0.6 MB.
    settings = LoaderSettings(24, num_parallel_workers=2, worker_type=worker_type)
    loader = PretrainLoader(source, transform, settings, 200)
    for number, _ in enumerate(loader):
        if number == 40:
            before = resident()
    assert resident() - before < 20e6  # 160 kept batches would be 94 MB.
