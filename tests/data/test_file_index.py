"""The index of a folder: cached, noticed when stale, shared between processes."""

import pickle
import tracemalloc

import numpy as np
import pytest

from mindbyol.data import file_index
from mindbyol.data.file_index import FileIndex, index_images
from mindbyol.data.image_list import index_list


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINDBYOL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "images"
    for name in ("b/2.jpg", "a/1.jpg", "a/Ünï.jpg", "b/deep/3.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def scans(monkeypatch):
    """Counts the scans."""
    count = []
    scan = file_index._Scan
    monkeypatch.setattr(file_index, "_Scan", lambda *arguments: count.append(arguments) or scan(*arguments))
    return count


EXPECTED = ["a/1.jpg", "a/Ünï.jpg", "b/2.jpg", "b/deep/3.jpg"]


@pytest.mark.parametrize("with_classes", [True, False])
def test_the_second_time_the_cached_index_is_used(folder, scans, caplog, with_classes):
    caplog.set_level("INFO")
    for _ in range(2):
        index = index_images(folder, with_classes, cache_from=1)
        assert list(index) == EXPECTED and len(index) == 4
        if with_classes:
            assert index.labels.tolist() == [0, 0, 1, 1] and index.labels.dtype == np.int32
            assert index.class_names == ["a", "b"]
        else:
            assert index.labels is None and index.class_names is None
    assert len(scans) == 1
    assert "images: 4 images, from the index" in caplog.text


def test_a_long_list_is_cached_until_it_changes(folder, caplog):
    caplog.set_level("INFO")
    (folder / "train_list.txt").write_text("a/1.jpg 7\n")
    for _ in range(2):
        index = index_list(folder, "train_list.txt", cache_from=1)
        assert list(index) == ["a/1.jpg"] and index.labels.tolist() == [7]
    assert "from the index" in caplog.text
    (folder / "train_list.txt").write_text("a/1.jpg\t7\nb/2.jpg  3\n")
    assert list(index_list(folder, "train_list.txt", cache_from=1)) == ["a/1.jpg", "b/2.jpg"]


def test_small_folders_leave_no_cache(folder, tmp_path):
    index_images(folder, True)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("change", ["add", "remove", "rename", "new folder"])
def test_a_change_is_noticed(folder, scans, change):
    index_images(folder, False, cache_from=1)
    if change == "add":
        (folder / "b/deep/4.jpg").touch()
    elif change == "remove":
        (folder / "a/1.jpg").unlink()
    elif change == "rename":
        (folder / "a/1.jpg").rename(folder / "a/0.jpg")
    else:
        (folder / "c").mkdir()
        (folder / "c/5.jpg").touch()
    index = index_images(folder, False, cache_from=1)
    assert len(scans) == 2 and list(index) != EXPECTED
    assert sorted(index) == sorted(str(f.relative_to(folder)) for f in folder.rglob("*.jpg"))


@pytest.mark.parametrize("damage", [b"", b"rubbish\n", b'{"format": 0}\n', None])
def test_a_damaged_cache_is_made_anew(folder, tmp_path, scans, damage):
    index_images(folder, False, cache_from=1)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-20] if damage is None else damage)
    assert list(index_images(folder, False, cache_from=1)) == EXPECTED
    assert list(index_images(folder, False, cache_from=1)) == EXPECTED
    assert len(scans) == 2


def test_without_a_place_for_the_cache_the_index_still_works(folder, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file is in the way")
    assert list(index_images(folder, False, cache_from=1)) == EXPECTED
    assert "cannot be kept" in caplog.text


def test_a_cached_index_is_pickled_as_its_path(folder):
    cached, own = (index_images(folder, True, cache_from=n) for n in (1, 100))
    for index in (cached, own):
        copy = pickle.loads(pickle.dumps(index))
        assert list(copy) == EXPECTED and copy.labels.tolist() == [0, 0, 1, 1] and copy.class_names == ["a", "b"]
    assert b"jpg" not in pickle.dumps(cached)


def test_a_long_scan_reports_where_it_is(folder, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(file_index, "_REPORT_EVERY", -1)
    index_images(folder, False)
    assert "Scanning" in caplog.text and "2 images so far" in caplog.text and "Scanned" in caplog.text


def test_names_cost_little_more_than_their_letters():
    tracemalloc.start()
    index = FileIndex.from_names(b"n%08d/n%08d_%06d.JPEG" % (n % 1000, n % 1000, n) for n in range(50_000))
    cost = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert index[49_999] == "n00000999/n00000999_049999.JPEG"
    assert cost < 50_000 * (31 + 9)  # 1.28 million: 51 MB.
