"""Reads what a run wrote while it trained: metrics.jsonl, and the config.yaml beside it."""

import json
from pathlib import Path
from typing import NamedTuple

import yaml

_LARGEST = 2**28  # bytes; a line has some 300, and a million take seconds to read


class Metrics(NamedTuple):
    """The numbers of a run by the step that they belong to.

    Attributes:
        name (str): Of the run's folder.
        series (dict[str, tuple[list, list]]): By key of metrics.jsonl: optimizer steps, and the values at them.
        steps_per_epoch (float): None until an epoch has ended.
        config (dict): The resolved recipe; empty where there is none.
    """

    name: str
    series: dict
    steps_per_epoch: float
    config: dict

    @property
    def projection_size(self):
        """Width of the projections; None where the recipe does not say it."""
        width = self.config.get("projection_size")
        return width if isinstance(width, int) and width > 0 else None


def read(path):
    """Reads a run.

    Args:
        path (Path): Its folder, or a metrics.jsonl.

    Returns:
        Metrics: Of a step that was logged twice, the last line counts. A last line that was cut off is left out.

    Raises:
        FileNotFoundError, ValueError, OSError: There is no metrics.jsonl, or it is none.
    """
    path = Path(path)
    file = path / "metrics.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path}: no metrics.jsonl is there; name the folder of a run that train.py made")
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"{file}: {file.stat().st_size:,} bytes; is it the metrics.jsonl of a run?")
    records = _records(file)
    series = {}
    for record in records:
        for key, value in record.items():
            if key not in ("epoch", "step") and isinstance(value, (int, float)) and not isinstance(value, bool):
                series.setdefault(key, {})[record["step"]] = float(value)
    series = {key: (sorted(points), [points[step] for step in sorted(points)]) for key, points in series.items()}
    if not series:
        raise ValueError(f"{file}: holds no numbers yet; the first line comes after log_interval steps")
    name = file.resolve().parent.name
    return Metrics(name, series, _steps_per_epoch(records), read_config(file.parent))


def read_config(folder):
    """The resolved recipe of a run's folder; empty where there is none that can be read."""
    try:
        config = yaml.safe_load((Path(folder) / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def _records(file):
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if not all(isinstance(record[key], int) and record[key] > 0 for key in ("epoch", "step")):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            if number == len(lines) and records:  # the run was killed while it wrote, or is writing
                break
            raise ValueError(f"{file}: line {number} is no line of a run's metrics.jsonl") from None
        records.append(record)
    return records


def _steps_per_epoch(records):
    """Each epoch ends with a line, so its last step divided by its number is the steps of an epoch."""
    ended = {record["epoch"] for record in records if record["epoch"] < records[-1]["epoch"]}
    if not ended:
        return None
    return max(record["step"] / record["epoch"] for record in records if record["epoch"] in ended)
