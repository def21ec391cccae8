"""report.html: what a run, or a suite of scores, did and found, on one page that can be sent to anybody.

Made from the files of the folder alone, and as often as one likes. What cannot be known afterwards, the machine and the
first views, is noted in `environment.json` and `views.png` when a run begins.
"""

import datetime
import functools
import logging
import shlex
import statistics
from pathlib import Path

from mindbyol.files import replacing
from mindbyol.reports import environment, page, scores

logger = logging.getLogger(__name__)

# Pictures that are shown if they are in the folder, what is said under each, and how wide it is at most.
_PICTURES = (
    (
        "What the network sees",
        (("views.png", "The first images of the first batch as they are trained on; a row a view.", 860),),
    ),
    (
        "What the features are worth",
        (
            (
                "label_efficiency.png",
                "Top-1 of logistic regression by labels a class; bands: one std of the draws.",
                520,
            ),
            ("changed_neighbours.png", "Changed queries and the training images nearest to them.", 860),
            ("map.png", "A map of the features: images with like features lie near each other.", 640),
            ("neighbours.png", "Images and those with the most similar features; the number is the cosine.", 860),
        ),
    ),
)
_ESSENTIALS = (
    "model stem image_resize dataset epoch_size batch_size opt base_lr lr weight_decay warmup_epochs base_tau "
    "amp_level seed"
)
_TAIL = 256 * 1024  # bytes of a log that are looked at


def _never_fatal(function):
    """What goes wrong with a report is said in a warning: a run is not lost for it."""

    @functools.wraps(function)
    def careful(*args):
        try:
            return function(*args)
        except Exception as error:  # whatever it is, in plots and pages as well
            logger.warning(f"no report: {type(error).__name__}: {error}; `python scripts/report.py RUN` tries again")

    return careful


@_never_fatal
def begin(folder, world, plan, source, batch):
    """Notes what a report cannot know later. Called on rank 0 when a run begins or goes on.

    Args:
        folder (Path): Of the run.
        world (World): Devices.
        plan (Plan): Steps.
        source (Source): What is trained on.
        batch (tuple[Tensor]): The first batch as the step takes it; its images are shown.
    """
    environment.write(Path(folder) / "environment.json", world, plan, source)
    arrays = [tensor.asnumpy() for tensor in batch if tensor.ndim == 4]
    views = [array for array in arrays if array.shape[1] == 3 and array.dtype == "uint8"]  # masks have other channels
    if views:
        environment.write_views(Path(folder) / "views.png", views)


@_never_fatal
def compiled(folder, seconds):
    """Notes how long the first call of a step took, of which all but a step is compilation. Called on rank 0.

    Args:
        folder (Path): Of the run.
        seconds (float): Until the call came back.
    """
    environment.add(Path(folder) / "environment.json", compile_seconds=round(seconds, 1))


@_never_fatal
def at_end(folder):
    """Writes the report of a folder, and says where it is. Called on rank 0."""
    logger.info(f"report: {write(folder)}")


def write(folder):
    """Writes `report.html` of a run, or of a suite, into its folder.

    Args:
        folder (Path): With a metrics.jsonl, or with a tables.json or scores.jsonl.

    Returns:
        Path: The file.

    Raises:
        FileNotFoundError, ValueError, OSError: There is nothing to report, files are damaged, or it cannot be written.
    """
    folder = Path(folder)
    if (folder / "metrics.jsonl").is_file():
        text = _of_run(folder)
    elif any((folder / name).is_file() for name in ("tables.json", "scores.jsonl")):
        text = page.build(
            f"Scores of {folder.resolve().name}", _today(), "", [("Scores", scores.html(folder)), *_shown(folder)]
        )
    else:
        raise FileNotFoundError(f"{folder}: neither metrics.jsonl nor scores.jsonl is there, so nothing to report")
    with replacing(folder / "report.html") as beside:
        beside.write_text(text, encoding="utf-8")
    return folder / "report.html"


def _of_run(folder):
    from mindbyol.reports import curves, drawing, metrics  # and with them matplotlib, which only the end of a run needs

    run = metrics.read(folder)
    noted = environment.read(folder / "environment.json")
    config = run.config
    picture = page.image(drawing.png(curves.draw([run])), "Every number of metrics.jsonl by optimizer step.")
    essential = {key: _value(config[key]) for key in _ESSENTIALS.split() if config.get(key) is not None}
    file = folder / "config.yaml"
    whole = page.folded(f"all {len(config)} keys", page.code(file.read_text(encoding="utf-8"))) if config else ""
    what = ", ".join(str(config[key]) for key in ("task", "model", "dataset") if config.get(key))
    images = f", {noted['data']}" if "data" in noted else ""
    warnings = _warnings(folder)
    sections = [
        ("Curves", picture),
        *_shown(folder),
        ("Scores", scores.html(folder, config)),
        ("Configuration", page.facts(essential) + whole if config else ""),
        ("Environment", page.facts(environment.shown(noted)) if noted else ""),
        ("Warnings", page.code("\n".join(warnings)) if warnings else ""),
        ("Next", page.code("\n".join(next_commands(folder)))),
    ]
    return page.build(
        f"{folder.resolve().name}: {what}",
        f"{_status(run, noted)}{images}. {_today()}",
        page.cards(_cards(run, noted)),
        sections,
    )


def _shown(folder):
    """The sections of the pictures that are in a folder; what is no PNG is left out."""
    sections = []
    for heading, pictures in _PICTURES:
        read = [((folder / name).read_bytes(), *rest) for name, *rest in pictures if (folder / name).is_file()]
        there = [picture for picture in read if picture[0].startswith(b"\x89PNG\r\n")]
        sections.append((heading, "".join(page.image(*picture) for picture in there)))
    return sections


def _status(run, noted):
    last = max(steps[-1] for steps, _ in run.series.values())
    total = noted.get("total_steps")
    if total is None:
        return f"{last} steps"
    return f"finished: {noted['epochs']} epochs, {total} steps" if last >= total else f"at step {last} of {total}"


def _cards(run, noted):
    """The numbers that matter most."""
    found = {}
    for key, what in (("byol_loss", "BYOL loss"), ("loss", "loss")):
        if key in run.series and not found:
            found[what] = f"{run.series[key][1][-1]:.3f}"
    if "projection_std" in run.series and run.projection_size:
        share = run.series["projection_std"][1][-1] * run.projection_size**0.5
        found["std of projections, share of 1/√d"] = f"{100 * share:.0f}%"
    if "probe_accuracy" in run.series:
        found["probe, top-1"] = f"{100 * run.series['probe_accuracy'][1][-1]:.1f}%"
    for key in [key for key in run.series if key.startswith("val_")][:2]:
        found[key[4:].replace("_", " ")] = f"{run.series[key][1][-1]:.2f}%"
    steps, speeds = run.series.get("images_per_second", ([], []))
    if speeds:
        found["images/s, median"] = f"{statistics.median(speeds):,.0f}"
    if speeds and "images_a_step" in noted:
        lengths = [step - before for before, step in zip([0, *steps], steps)]
        seconds = sum(length * noted["images_a_step"] / speed for length, speed in zip(lengths, speeds) if speed)
        found["training time"] = str(datetime.timedelta(seconds=round(seconds)))
    return found


def _warnings(folder):
    """The last different warnings of the log."""
    lines = [
        line.partition("] ")[2] for line in _tail(folder / "rank0.log") if " WARNING - " in line or " ERROR - " in line
    ]
    return list(dict.fromkeys(line.partition(" - ")[2] for line in lines))[-10:]


def next_commands(folder):
    """What one may type next: list[str]. The first is what the run itself said, if it is finished."""
    quoted = shlex.quote(str(folder))
    said = [line.partition(" - next: ")[2] for line in _tail(folder / "rank0.log") if " - next: " in line]
    maps = [f"python scripts/map.py {quoted}"] if any(folder.glob("*_backbone.ckpt")) else []
    return [*said[-1:], f"python scripts/plot.py {quoted} -o curves.png", *maps]


def _tail(file):
    try:
        with open(file, "rb") as log:
            log.seek(max(0, file.stat().st_size - _TAIL))
            return log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _value(value):
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _today():
    return f"Written {datetime.datetime.now():%Y-%m-%d %H:%M}"
