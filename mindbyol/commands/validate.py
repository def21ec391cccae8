"""Scores by the protocol of a recipe's `task`: `python validate.py --config ... --ckpt_path ...`."""

from mindbyol.command import one_line_errors, packages

with packages("validate.py"):
    from mindbyol import tasks
    from mindbyol.checkpoint import NonFinite
    from mindbyol.config import parse_args
    from mindbyol.data import DataError
    from mindbyol.evaluation import runner
    from mindbyol.evaluation.suite import Stopped
    from mindbyol.evaluation.tools import Constant
    from mindbyol.terminal import setup_logging


@one_line_errors("validate.py", errors=(DataError, OSError, NonFinite, Constant, Stopped))
def main(argv=None):
    with one_line_errors("validate.py"):
        setup_logging()
        recipe = parse_args(argv, "validate")
        task = tasks.load(recipe.task)
        evaluation = getattr(task, "Evaluation", runner.Evaluation)(recipe, task)
    evaluation.run()
