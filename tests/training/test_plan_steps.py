"""Runs that are counted in steps: their length, warm-up and milestones, and where their last epoch is cut off."""

import numpy as np
import pytest

from mindbyol.data.loader import LoaderSettings, PretrainLoader
from mindbyol.data.one_view import OneViewTransform
from mindbyol.data.sources import create_source
from mindbyol.training.plan import Plan


def test_steps_stand_in_the_place_of_epochs(recipe):
    plan = Plan(
        recipe(scheduler="multi_step_decay", train_steps=7, warmup_steps=2, warmup_factor=0.001, decay_steps=[4, 6]), 50
    )
    assert (plan.steps_per_epoch, plan.total_steps, plan.epochs) == (3, 7, 3)
    assert (plan.warmup_steps, plan.warmup_factor, plan.milestones) == (2, 0.001, [4, 6])
    plan = Plan(recipe(epoch_size=12, multi_step_decay_milestones=[8, 11]), 50)
    assert (plan.total_steps, plan.epochs, plan.warmup_steps, plan.milestones) == (36, 12, 0, [24, 33])


def test_a_warm_up_as_long_as_the_run_is_refused(recipe):
    with pytest.raises(ValueError, match="^warmup_steps: 7 steps of warm-up in a run of 7; lower it$"):
        Plan(recipe(train_steps=7, warmup_steps=7), 50)


def test_the_last_epoch_is_cut_off():
    source = create_source("digits", num_samples=20)
    settings = LoaderSettings(4, seed=3, num_parallel_workers=1)

    def batches(*args):
        return [
            batch.indices.tolist() for batch in PretrainLoader(source, OneViewTransform(8), settings, *args).batches()
        ]

    whole = batches(2)
    assert batches(2, None, 0, 7) == whole[:7] and batches(2, None, 4, 7) == whole[4:7]
    assert len(PretrainLoader(source, OneViewTransform(8), settings, 2, None, 4, 7)) == 3
    assert sorted(np.concatenate(whole[:5])) == list(range(20))


@pytest.fixture
def recipe():
    from mindbyol.config import recipe_from

    return lambda **keys: recipe_from({"task": "segmentation", "batch_size": 16, **keys})
