"""Runs a protocol: opens data and backbones, and writes its scores; it alone knows ranks, files and tables.

A protocol is a module of this folder with

    KEYS, check(recipe)             its keys, and what can be wrong without the data
    splits(recipe)                  {role: split}; the images of the last role are scored, the others learned from
    check_data(recipe, sources)     what can be wrong with the data, before any hour is spent; sources by role
    check_subject(recipe, subject)  if it is there: what can be wrong with a subject, such as stages it has not got
    run(recipe, subject, sources, tools)    yields (name, value): the scores of one subject; see `Scored` and `Tools`
"""

import logging

from mindbyol import runtime
from mindbyol.data import LABELLED_FOLDERS, source_from_args
from mindbyol.evaluation import feature_files, results, subjects
from mindbyol.evaluation.tools import Tools
from mindbyol.next_command import embedding, typed
from mindbyol.terminal import setup_logging

logger = logging.getLogger(__name__)


class Evaluation:
    """A protocol over everything that a recipe asks to score.

    What is wrong with the recipe, the data or the weights comes out when it is made.

    Args:
        recipe (Recipe): Of a task that scores.
        protocol (module): The task's module.

    Raises:
        ValueError, OSError: In one line: what is wrong and what to do.
    """

    def __init__(self, recipe, protocol):
        self.recipe = recipe
        self.protocol = protocol
        if recipe.results:
            results.check_file(recipe.results)
        if recipe.values.get("features_dir"):
            feature_files.check_folder(recipe.features_dir)
        self.world = runtime.setup_for(recipe)
        setup_logging(rank=self.world.rank)
        if recipe.dataset == "folder":  # whatever its splits are called
            raise ValueError(_unlabelled(recipe, recipe.data_dir))
        roles = protocol.splits(recipe)
        scored = list(roles)[-1]
        self.sources = {}
        for role, split in roles.items():
            self.sources[role] = _open_labelled(recipe, split, None if role == scored else recipe.num_samples)
        protocol.check_data(recipe, self.sources)
        self.subjects = subjects.open_all(recipe)
        for subject in self.subjects if hasattr(protocol, "check_subject") else ():
            protocol.check_subject(recipe, subject)

    def run(self):
        """Scores one subject after the other; rank 0 writes.

        Returns:
            list[dict]: One record a score; see `results.record`.

        Raises:
            DataError, OSError: The data are gone, or the scores cannot be written.
        """
        tools = Tools(self.recipe, self.world)
        records = []
        for subject in self.subjects:
            scores = dict(self.protocol.run(self.recipe, subject, self.sources, tools))
            data = ", ".join(f"{role}: {source.description}" for role, source in self.sources.items())
            rows = "\n".join(f"   {name:<20}{value:8.2f}" for name, value in scores.items())
            logger.info(f"{self.recipe.task} of {subject.name}, {data}\n{rows}")
            added = [results.record(self.recipe, subject, self.sources, *score) for score in scores.items()]
            if self.recipe.results and self.world.rank == 0:
                results.add(self.recipe.results, added)
            records += added
        return records


def _open_labelled(recipe, split, num_samples):
    source = source_from_args(recipe, split, num_samples)
    if source.labels is None and not hasattr(source, "target"):
        raise ValueError(_unlabelled(recipe, source.description))
    return source


def _unlabelled(recipe, what):
    """What to do with images without labels, in a line."""
    embed = embedding(recipe, recipe.ckpt_path or "CHECKPOINT", "features.npz")
    show = typed("map", recipe.ckpt_path or "CHECKPOINT", "--data_dir", recipe.data_dir)
    return (
        f"dataset: {what}: no labels to score with; to use the features: `{embed}`, and `{show}` shows neighbours; or "
        f"{LABELLED_FOLDERS}"
    )
