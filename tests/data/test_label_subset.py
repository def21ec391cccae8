"""Subsets of labelled images: the same on any machine, as many of each class as asked for, and lists that are read."""

import numpy as np
import pytest

from mindbyol.config import parse_args
from mindbyol.data.label_subset import read_list, stratified, subset_from_args, write_list
from mindbyol.data.sources import create_source

LABELS = np.array([0] * 20 + [1] * 7 + [2] * 3)


@pytest.fixture
def folder(tmp_path):
    """An ImageNet with three classes; two of them have a file of one name."""
    for name in ("n01440764/n01440764_1.JPEG", "n01440764/n01440764_2.JPEG", "n01443537/n01443537_9.JPEG"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_bytes(b"")
    for name in ("n01440764/cover.jpg", "n01443537/cover.jpg"):
        (tmp_path / "train" / name).write_bytes(b"")
    return tmp_path


def subset(source, *flags):
    return subset_from_args(parse_args(["--task", "finetune", *flags]), source)


def test_as_many_of_each_class_as_asked_for():
    assert np.bincount(LABELS[stratified(LABELS, 0, per_class=3)]).tolist() == [3, 3, 3]
    # 0.15 of 20, 7 and 3: 3, 1.05 and 0.45; of each class there is at least one
    assert np.bincount(LABELS[stratified(LABELS, 0, fraction=0.15)]).tolist() == [3, 1, 1]
    assert np.bincount(LABELS[stratified(LABELS, 0, fraction=0.5)]).tolist() == [10, 4, 2]  # 3.5 and 1.5 go up
    assert stratified(LABELS, 0, fraction=1.0).tolist() == list(range(30))


def test_a_draw_is_the_same_on_any_machine():
    """Recorded once; what it comes from, Philox's integers, is the same everywhere."""
    assert stratified(LABELS, 7, per_class=2).tolist() == [3, 15, 22, 24, 28, 29]
    assert stratified(LABELS, 8, per_class=2).tolist() != stratified(LABELS, 7, per_class=2).tolist()


def test_fewer_labels_are_among_more():
    few, more = (set(stratified(LABELS, 3, per_class=count).tolist()) for count in (2, 3))
    assert few < more


def test_a_subset_keeps_the_classes_and_says_what_it_is():
    digits = create_source("digits")
    few = subset(digits, "--labels_per_class", "5", "--seed", "3")
    assert np.bincount(few.labels).tolist() == [5] * 10 and few.class_names == digits.class_names
    assert few.description == "50 of 1442 images, 10 classes, digits train"
    assert subset(digits) is digits


def test_more_labels_than_there_are_name_the_class():
    digits = create_source("digits", split="val")
    with pytest.raises(
        ValueError, match=r"^labels_per_class: 40 asked for, and class '8' of 355 images, .* has 34; ask for fewer"
    ):
        subset(digits, "--labels_per_class", "40")


@pytest.mark.parametrize("flags", [("--labels_per_class", "2", "--labels_fraction", "0.5")])
def test_only_one_way_to_choose(flags):
    with pytest.raises(ValueError, match="^labels_fraction: labels_per_class says already which images"):
        parse_args(["--task", "finetune", *flags])


def test_a_list_that_was_written_is_read_again(tmp_path):
    digits = create_source("digits")
    few = subset(digits, "--labels_fraction", "0.02")
    write_list(few, tmp_path / "few.txt")
    again = subset(digits, "--train_list", str(tmp_path / "few.txt"))
    assert [again.name(i) for i in range(len(again))] == [few.name(i) for i in range(len(few))]
    np.testing.assert_array_equal(again.labels, few.labels)


def test_simclrs_lists_name_files_without_their_folders(folder):
    source = create_source("imagenet", folder)
    path = folder / "1percent.txt"
    path.write_text("n01443537_9.JPEG\nn01440764_2.JPEG\n")
    chosen = read_list(source, path)
    assert [source.name(i) for i in chosen] == ["n01440764/n01440764_2.JPEG", "n01443537/n01443537_9.JPEG"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("\n", "names no image; write a file name a line"),
        ("n01440764_1.JPEG\nn01440764_1.JPEG\n", "names n01440764_1.JPEG more than once; drop the others"),
        (
            "n01440764_1.JPEG\nn09999999_1.JPEG\nn09999998_3.JPEG\n",
            "names images of 2 classes that .*imagenet train has not, the first is n09999998; is it the list of",
        ),
        (
            "".join(f"n01440764_{i}.JPEG\n" for i in range(2, 14)),
            "names 11 images that .* has not: n01440764_3.JPEG, .*, n01440764_12.JPEG, ...$",
        ),
        ("cover.jpg\n", "names cover.jpg, and both n01440764/cover.jpg and n01443537/cover.jpg are called so"),
    ],
)
def test_a_list_that_does_not_fit_is_an_error_of_one_line(folder, text, message):
    path = folder / "list.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^train_list: .*list.txt {message}"):
        read_list(create_source("imagenet", folder), path)


def test_a_list_that_is_not_there_is_named(folder):
    with pytest.raises(FileNotFoundError, match="^train_list: no file '.*nowhere.txt'"):
        read_list(create_source("imagenet", folder), folder / "nowhere.txt")
