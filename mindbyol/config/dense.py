"""The keys that dense tasks share: a run that is counted in optimizer steps."""

from mindbyol.config import common
from mindbyol.config.keys import Changes, Group, Key, path
from mindbyol.config.values import COUNT, FRACTION, number

SCHEDULER = common.SCHEDULER.without("warmup_epochs", "lr_epoch_stair")

STEPS = Group(
    "Steps of the run",
    (
        Key("train_steps", None, COUNT, "optimizer steps of the run, in the place of epoch_size"),
        Key("warmup_steps", 0, number(int, 0, 2**31 - 1), "steps in which the rate rises linearly"),
        Key("warmup_factor", 0.0, FRACTION, "share of the highest rate that the warm-up starts from"),
        Key(
            "decay_steps",
            None,
            COUNT,
            "multi_step_decay: steps after which the rate is multiplied by decay_rate, in the place of "
            "multi_step_decay_milestones",
            nargs="+",
        ),
    ),
    "The protocols of dense tasks count iterations, not epochs.",
    training_only=True,
)

PICTURES = Group(
    "Pictures",
    (
        Key(
            "visualize",
            0,
            number(int, 0, 2**31 - 1),
            "validate.py: how many of the first images are drawn",
            Changes.LOGS,
        ),
        Key("pictures_dir", "./pictures", path, "folder for these", Changes.PATHS),
    ),
    "What was found beside what there is.",
)


def check_steps(recipe):
    """What can be wrong between the keys of `STEPS`.

    Raises:
        ValueError: Steps do not ascend, or stand where nothing reads them.
    """
    steps = list(recipe.decay_steps or ())
    if steps != sorted(set(steps)):
        raise ValueError(f"decay_steps: {' '.join(map(str, steps))} do not ascend")
    if steps and recipe.scheduler != "multi_step_decay":
        raise ValueError(
            f"decay_steps: scheduler {recipe.scheduler} has no such steps; set multi_step_decay, or drop them"
        )
