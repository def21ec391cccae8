"""Scores a backbone by many protocols, one after the other, and puts the scores beside published ones.

Each protocol is a recipe of its own, run as `validate.py` runs it, after `train.py` where it has classifiers to train.
What is done lies in `suite_dir`, so that the same command goes on where it was stopped:

    features/               features, each computed once for all protocols that share them
    RECIPE-DIGEST/          the run of a recipe that trains classifiers, one for each weights and settings
    scores.jsonl            every score; see `results`
    tables.md, tables.json  the scores in tables, published ones beside them; see `tables`
    report.html             the same as a page; see `reports.report`
"""

import hashlib
import json
import logging
from pathlib import Path

from mindbyol import runtime, tasks
from mindbyol.config.common import BACKBONE, DATASET, SYSTEM
from mindbyol.config.keys import Changes, Group, Key, path
from mindbyol.data.loader import groups_of
from mindbyol.evaluation import results, runner, tables
from mindbyol.files import replacing
from mindbyol.reports import report
from mindbyol.terminal import setup_logging
from mindbyol.training.log import NonFiniteLoss
from mindbyol.training.loop import Run
from mindbyol.training.plan import Plan
from mindbyol.weights.subject import open_subject

logger = logging.getLogger(__name__)

KEYS = (
    SYSTEM,
    DATASET.only("data_dir", "num_parallel_workers", "worker_type", "on_bad_image"),
    BACKBONE.only("model", "ckpt_path"),
    Group(
        "Suite parameters",
        (
            Key("protocols", (), path, "recipes to score by, in this order; paths from the suite's recipe", nargs="+"),
            Key("folders", (), path, "folder of each protocol's data set below data_dir; . is data_dir", nargs="+"),
            Key("suite_dir", "./suite", path, "folder for features, heads, scores and tables", Changes.PATHS),
        ),
    ),
)
# What is said once for all protocols.
_HANDED_ON = tuple(key.name for group in KEYS[:3] for key in group.keys if key.name not in ("data_dir", "ckpt_path"))


class Stopped(RuntimeError):
    """The training of a protocol has ended before its time; the message says which, and why."""


def check(recipe):
    """Everything that can be wrong without the data; a ValueError names the key."""
    if not recipe.protocols:
        raise ValueError("protocols: names no recipe; configs/suite/mmselfsup.yaml is a suite")
    if len(recipe.protocols) != len(recipe.folders):
        raise ValueError(
            f"folders: {len(recipe.folders)} folders for {len(recipe.protocols)} protocols; name one for each"
        )
    names = [Path(protocol).stem for protocol in recipe.protocols]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"protocols: {twice[0]} stands there more than once")


class Evaluation:
    """A suite. What is wrong with recipes and weights comes out when it is made, and which data are not there.

    Args:
        recipe (Recipe): Of the task `suite`.
        _ (module): This one.

    Raises:
        ValueError, OSError: In one line: what is wrong and what to do; also if no protocol can be run.
    """

    def __init__(self, recipe, _=None):
        if not recipe.ckpt_path:
            raise ValueError("ckpt_path: which checkpoint is to be scored?")
        self.protocols = [Protocol(recipe, *both) for both in zip(recipe.protocols, recipe.folders)]
        self.world = runtime.setup_for(recipe)
        setup_logging(rank=self.world.rank)
        subject = open_subject(recipe.ckpt_path, recipe.model if "model" in recipe.given else None)
        self.digest = subject.digest
        self.folder = Path(recipe.suite_dir)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"suite_dir: cannot make '{self.folder}' ({error.strerror}); name another folder") from error
        self.scores = self.folder / "scores.jsonl"
        self.done = {}
        for protocol in self.protocols:
            self.done[protocol.name] = self._scores_of(protocol)
            if not self.done[protocol.name]:
                protocol.open(self.world, subject)
        missing = {protocol.name: protocol.missing for protocol in self.protocols if protocol.missing}
        for name, why in missing.items():
            logger.warning(f"{name} is left out: {why}")
        if len(missing) == len(self.protocols):
            raise ValueError(f"data_dir: no protocol of the suite can be run; {name}: {why}")

    def run(self):
        """Runs what is not done yet, and writes the tables after each protocol.

        Raises:
            DataError, NonFinite, OSError, Stopped: As the protocols; what was done before is kept.
        """
        for number, protocol in enumerate(self.protocols, 1):
            if self.done[protocol.name]:
                logger.info(f"{protocol.name} was scored before: {self.scores}")
            elif not protocol.missing:
                logger.info(f"{protocol.name}: protocol {number} of {len(self.protocols)}")
                self.done[protocol.name] = protocol.run(self.world)
                if self.world.rank == 0:
                    self._write_tables()
        if self.world.rank == 0:
            logger.info(f"{self.folder / 'tables.md'}:\n\n{self._write_tables()}")
            report.at_end(self.folder)

    def _scores_of(self, protocol):
        """The scores of a protocol that an earlier run left: those of the same weights and settings."""
        wanted = Path(protocol.recipe.config).name, protocol.recipe.that_change_results(), self.digest
        records = map(json.loads, results.check_file(self.scores))
        kind = ("recipe", "settings", "weights")
        return {r["score"]: r["value"] for r in records if tuple(map(r.get, kind)) == wanted}

    def _write_tables(self):
        filled = tables.fill(self.done)
        missing = {protocol.name: protocol.missing for protocol in self.protocols if protocol.missing}
        text = tables.markdown(filled, missing)
        content = json.dumps({"weights": self.digest, "tables": filled, "left_out": missing}, indent=1) + "\n"
        for name, lines in (("tables.md", text), ("tables.json", content)):
            with replacing(self.folder / name) as beside:
                beside.write_text(lines)
        return text


class Protocol:
    """One recipe of a suite, with what the suite says for all over it.

    Args:
        suite (Recipe): Of the task `suite`.
        file (str): The protocol's recipe, by its path from the suite's.
        folder (str): Of its data set below `data_dir`.

    Attributes:
        name (str): Of the recipe's file, without suffix.
        recipe (Recipe): As validate.py would have it.
        missing (str): Why it cannot be run; None if it can.

    Raises:
        OSError, ValueError: The recipe is not there, or says something wrong.
    """

    def __init__(self, suite, file, folder):
        file = Path(suite.config or ".").parent / file
        self.name = file.stem
        self.missing = None
        self._suite = suite
        self._flags = {"config": file, "data_dir": Path(suite.data_dir) / folder}
        self._flags.update({key: suite.values[key] for key in _HANDED_ON if key in suite.given})
        self.recipe = self._parse("validate", suite.ckpt_path)
        self._module = tasks.load(self.recipe.task)
        self._trains = hasattr(self._module, "Training")
        if self._trains:
            self._run_recipe = self._parse("train", suite.ckpt_path)

    def _parse(self, command, ckpt_path, run_name=None):
        from mindbyol.config import parse_args  # which loads this module, for its keys

        folder = Path(self._suite.suite_dir)
        flags = {**self._flags, "ckpt_path": ckpt_path, "features_dir": folder / "features"}
        flags["results"] = folder / "scores.jsonl"
        if command == "train":
            flags.update(ckpt_save_dir=folder / (run_name or self.name), resume="auto", report=False)
        return parse_args([text for key, value in flags.items() for text in (f"--{key}", str(value))], command)

    def open(self, world, subject):
        """Opens data and weights; what is wrong with them leaves the protocol out.

        Args:
            world (World): Devices that work together.
            subject (Subject): The backbone. A run goes on only with the weights and settings that it began with.
        """
        try:
            if self._trains:
                if hasattr(self._module, "check_subject"):
                    self._module.check_subject(self._run_recipe, subject)
                made_of = json.dumps([subject.digest, self._run_recipe.that_change_results()], sort_keys=True)
                run_name = f"{self.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
                self._run_recipe = self._parse("train", self._suite.ckpt_path, run_name)
                source = self._module.Training(self._run_recipe, world).source
                Plan(self._run_recipe, len(source), world.ranks, groups_of(source))
            else:
                self._evaluation = runner.Evaluation(self.recipe, self._module)
        except (ValueError, OSError) as error:
            self.missing = str(error)

    def run(self, world):
        """Trains where there is something to train, and scores.

        Returns:
            dict[str, float]: The scores by name.

        Raises:
            DataError, NonFinite, OSError, Stopped: What was done before is kept.
        """
        if self._trains:
            try:
                run = Run(self._run_recipe, self._module)
                finished = run.train()
            except (ValueError, NonFiniteLoss) as error:
                raise Stopped(f"{self.name}: {error}") from error
            if not finished:
                raise Stopped(f"{self.name} was stopped; the same command goes on from there")
            self._evaluation = runner.Evaluation(self._parse("validate", run.state.file()), self._module)
        records, self._evaluation = self._evaluation.run(), None  # its features need not stay in memory
        return {record["score"]: record["value"] for record in records}
