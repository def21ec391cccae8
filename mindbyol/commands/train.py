"""Trains what a recipe's `task` says: `python train.py --config configs/byol/....yaml --data_dir ...`."""

import logging
import sys

from mindbyol.command import one_line_errors, packages

with packages("train.py"):
    from mindbyol import tasks
    from mindbyol.checkpoint import NonFinite
    from mindbyol.config import parse_args
    from mindbyol.data import DataError
    from mindbyol.terminal import native_lines_above_bar, setup_logging
    from mindbyol.training.log import NonFiniteLoss
    from mindbyol.training.loop import Run

logger = logging.getLogger("mindbyol.train")

# What the process ends with after SIGTERM or SIGINT, its state saved: run again with --resume.
STOPPED = 75


@one_line_errors("train.py", errors=())
def main(argv=None):
    with one_line_errors("train.py"):
        setup_logging()
        recipe = parse_args(argv, "train")
        run = Run(recipe, tasks.load(recipe.task))
    try:
        with native_lines_above_bar():
            finished = run.train()
    except (NonFiniteLoss, NonFinite, DataError, OSError) as error:
        logger.error(error)
        sys.exit(1)
    if not finished:
        sys.exit(STOPPED)
