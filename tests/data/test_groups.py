"""Images in groups, such as upright and lying ones: a batch is of one group, whoever makes it."""

import numpy as np
import pytest

from mindbyol.config import parse_args
from mindbyol.data.loader import LoaderSettings, PretrainLoader, full_batches, order_of_epoch, training_order
from mindbyol.data.sources import create_source
from mindbyol.data.views import TwoViewTransform
from mindbyol.training.plan import Plan

COUNT = 50
GROUPS = np.random.default_rng(0).integers(0, 2, COUNT)  # 24 and 26 images, unless NumPy's generator changes
TRANSFORM = TwoViewTransform(size=8)


def test_each_batch_is_of_one_group_and_no_image_comes_twice():
    order = order_of_epoch(COUNT, 3, 0, 4, GROUPS)
    ones = int(GROUPS.sum())
    assert order.shape == (ones // 4 + (COUNT - ones) // 4, 4)
    assert len(np.unique(order)) == order.size
    of_batch = GROUPS[order]
    assert (of_batch == of_batch[:, :1]).all()
    assert full_batches(COUNT, 4, GROUPS) == len(order) and full_batches(COUNT, 4) == 12


def test_groups_follow_each_other_in_no_order_and_epochs_differ():
    first, second = (GROUPS[order_of_epoch(COUNT, 3, epoch, 2, GROUPS)[:, 0]] for epoch in (0, 1))
    changes = np.count_nonzero(np.diff(first))
    assert 4 < changes < len(first) - 4 and not np.array_equal(first, second)
    everywhere = np.mean([GROUPS[order_of_epoch(COUNT, seed, 0, 2, GROUPS)[:, 0]] for seed in range(400)], 0)
    assert abs(everywhere - GROUPS.mean()).max() < 0.12  # as likely at each place


def test_left_out_are_others_in_each_epoch():
    used = [set(order_of_epoch(COUNT, 3, epoch, 16, GROUPS).ravel().tolist()) for epoch in range(8)]
    assert len(set.union(*used)) == COUNT and used[0] != used[1]


def test_one_group_for_all_is_no_group():
    order = order_of_epoch(COUNT, 3, 1, 4)
    together = order_of_epoch(COUNT, 3, 1, 4, np.zeros(COUNT))
    assert not np.array_equal(order, together)
    np.testing.assert_array_equal(np.sort(order, axis=0), np.sort(together, axis=0))


def test_two_ranks_see_what_one_sees_and_a_start_in_the_middle_changes_nothing():
    one = [indices for _, indices in training_order(COUNT, LoaderSettings(4), 10, 0, 25, GROUPS)]
    ranks = [training_order(COUNT, LoaderSettings(2, rank=rank, ranks=2), 10, 0, 25, GROUPS) for rank in range(2)]
    for expected, (epoch, left), (_, right) in zip(one, *ranks):
        np.testing.assert_array_equal(expected, np.concatenate([left, right]))
    later = training_order(COUNT, LoaderSettings(4), 10, 13, 25, GROUPS)
    np.testing.assert_array_equal(one[13:], [indices for _, indices in later])


class Grouped:
    """A source whose images are in groups."""

    def __init__(self, source, groups):
        self._source = source
        self.groups = groups

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        return self._source[index]

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)


def test_the_loader_keeps_groups_apart_even_where_an_image_is_replaced(tmp_path, write_jpegs):
    write_jpegs(tmp_path, 24)
    (tmp_path / "05.jpg").write_bytes(b"no image")
    (tmp_path / "07.jpg").write_bytes(b"no image")
    groups = np.arange(24) % 2
    source = Grouped(create_source("folder", tmp_path), groups)
    settings = LoaderSettings(4, num_parallel_workers=1, on_bad_image="skip_any")
    loader = PretrainLoader(source, TRANSFORM, settings, epochs=2)
    assert loader.batches_per_epoch == 6
    batches = list(loader.batches())
    for batch in batches:
        assert len(set(groups[batch.indices].tolist())) == 1
    seen = np.concatenate([batch.indices for batch in batches])
    assert 5 not in seen and 7 not in seen and (seen == 9).sum() == 6  # its own, and in the place of both


def test_groups_that_are_smaller_than_a_batch_are_refused():
    recipe = parse_args(["--batch_size", "40", "--epoch_size", "1"], "train")
    with pytest.raises(
        ValueError, match="^batch_size: .* the training split has 50, and a batch is of one group of them"
    ):
        Plan(recipe, COUNT, 1, GROUPS)
    assert Plan(recipe, COUNT).steps_per_epoch == 1


@pytest.mark.parametrize("accumulation, steps", [(1, 24), (5, 4)])
def test_a_plan_counts_the_full_batches_of_all_groups(accumulation, steps):
    argv = f"--batch_size 2 --epoch_size 1 --gradient_accumulation_steps {accumulation}".split()
    groups = np.arange(COUNT) % 2
    assert Plan(parse_args(argv, "train"), COUNT, 1, groups).steps_per_epoch == steps
