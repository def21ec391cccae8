"""The scores of a folder as tables of a page, published ones beside them."""

import json
from pathlib import Path

from mindbyol.evaluation import tables
from mindbyol.reports import page

OURS = "this checkpoint"
_KINDS = {"trained": "trained", "untrained": "untrained", "pixels": "raw pixels"}
_PUBLISHED = {recipe for table in tables.TABLES for _, recipe, _ in table.columns}


def read(folder, config=None):
    """The records of `scores.jsonl`, and of the file that the run's `results` names.

    Args:
        folder (Path): Of a run or a suite.
        config (dict): The run's resolved recipe, if there is one.

    Returns:
        list[dict]: As of `evaluation.results.record`.

    Raises:
        ValueError: A line is no score; the message names it.
    """
    files = [Path(folder) / "scores.jsonl"]
    if (config or {}).get("results"):
        files.append(Path(config["results"]))
    records = []
    for file in dict.fromkeys(file.resolve() for file in files if file.is_file()):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            try:
                record = json.loads(line)
                float(record["value"]), record["score"], record["task"], record["features"]
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{file}: line {number} is no score") from None
            records.append(record)
    return records


def html(folder, config=None):
    """Tables of all scores of a folder; empty where there are none. Of a score that is there twice, the last counts."""
    groups = {}
    for record in read(folder, config):
        name = record.get("recipe") or record["task"]
        recipe = record["task"] if name == "config.yaml" else Path(name).stem  # a run's own recipe
        group = groups.setdefault((record["task"], recipe, record.get("split")), {})
        column = record["features"], Path(record.get("ckpt_path") or "").name
        group.setdefault(column, {})[record["score"]] = record["value"]
    published = {
        recipe: scores
        for (_, recipe, _), group in groups.items()
        for (features, _), scores in group.items()
        if recipe in _PUBLISHED and features == "trained"
    }
    parts = []
    for table in tables.fill(published):
        parts.append(f"<h3>{page.text(table['title'])}</h3>")
        parts.append(page.table(["", *table["columns"]], table["rows"], ours=[OURS]))
    for (task, recipe, split), group in groups.items():
        if recipe not in published:
            parts.append(
                f"<h3>{page.text(task if task == recipe else f'{task}, {recipe}')}</h3>{page.paragraph(split)}"
            )
            parts.append(page.table(["", *_headings(group)], _rows(group)))
    return "".join(parts)


def _rows(group):
    """A row a score; a spread, `..._std`, stands behind the score that it is of."""
    names = list(dict.fromkeys(name for scores in group.values() for name in scores))
    spread = {name.rpartition("_")[0]: name for name in names if name.endswith("_std")}
    rows = {}
    for name in names:
        of = spread.get(name.rpartition("_")[0])
        if name not in spread.values():
            rows[name] = [_shown(scores.get(name), scores.get(of)) for scores in group.values()]
    return rows


def _shown(value, spread):
    return value if value is None or spread is None else f"{value:.2f} ± {spread:.2f}"


def _headings(group):
    """Of each column: what gave the features, and which checkpoint where there are several."""
    several = len({file for features, file in group if features == "trained"}) > 1
    return [file if several and file else _KINDS.get(features, features) for features, file in group]
