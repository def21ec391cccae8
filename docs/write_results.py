"""Writes the tables of measured results in configs/byol/README.md, from configs/byol/measured.json.

    python docs/write_results.py                               the tables again
    python docs/write_results.py --run ckpt/digits --recipe configs/byol/byol_resnet18_digits_cpu.yaml
    python docs/write_results.py --results scores.jsonl        scores of a run that is there, or of any other weights

`--run` is the folder of a finished run of a recipe, `--results` what validate.py wrote with its `--results`. Numbers
come from these files alone, never from a keyboard.
"""

import argparse
import hashlib
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mindbyol  # noqa: E402
from mindbyol.command import Parser, one_line_errors  # noqa: E402
from mindbyol.config import parse_args  # noqa: E402
from mindbyol.evaluation import results, tables  # noqa: E402
from mindbyol.files import replacing  # noqa: E402
from mindbyol.reports import environment, metrics  # noqa: E402
from mindbyol.training.run_folder import newest_weights  # noqa: E402

FOLDER = Path(__file__).parents[1] / "configs" / "byol"
MEASURED, PAGE = FOLDER / "measured.json", FOLDER / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
COLUMNS = {
    "model": "model name",
    "parameters": "params(M)",
    "cards": "cards",
    "batch_size": "batch size",
    "resolution": "resolution",
    "jit_level": "jit level",
    "compile_seconds": "graph compile",
    "ms_per_step": "ms/step",
    "images_per_second": "img/s (FPS)",
    "top1": "acc@top1",
    "top5": "acc@top5",
}
# Of a run's own scores those that stand in its row, the first that is there.
_TOP = (("top", "linear"), ("knn20_top", "kNN, k = 20"))


def of_run(folder, recipe):
    """The row of a run.

    Args:
        folder (Path): As train.py left it, with its report's files.
        recipe (Path): Whose run it is.

    Returns:
        dict: Values by the keys of `COLUMNS`, `mindspore`, `weights` (their digest) and `file`.

    Raises:
        ValueError, OSError: It is no finished run, or one of other values than the recipe's; the message names a key.
    """
    folder, recipe = Path(folder), Path(recipe)
    asked, done = (parse_args(["-c", str(path)]).that_change_results() for path in (recipe, folder / "config.yaml"))
    for key, value in done.items():
        if value != asked[key] and key != "seed":
            raise ValueError(f"--run: {folder} has {key} {value}, {recipe.name} has {asked[key]}")
    run, noted = metrics.read(folder), environment.read(folder / "environment.json")
    if not noted or max(steps[-1] for steps, _ in run.series.values()) < noted["total_steps"]:
        raise ValueError(f"--run: {folder} is not finished, or has no environment.json")
    weights = mindbyol.load(folder)
    speed = statistics.median(run.series["images_per_second"][1])
    _, _, cards = noted["device"].rpartition(" x ")
    parameters = sum(one.size for one in weights.backbone.get_parameters() if one.requires_grad)
    spec = recipe.stem.replace(f"byol_{run.config['model']}_", "")
    sha = hashlib.sha256(newest_weights(folder).read_bytes()).hexdigest()[:8]
    return {
        "model": run.config["model"],
        "parameters": round(parameters / 1e6, 2),
        "cards": f"{cards} x {noted['device'].partition(' ')[0]}, {noted.get('processor')}, {noted.get('cores')} cores",
        "batch_size": run.config["batch_size"],
        "resolution": f"{run.config['image_resize']}x{run.config['image_resize']}",
        "jit_level": run.config["jit_level"] or "default",
        "compile_seconds": f"{noted['compile_seconds']:.0f} s" if "compile_seconds" in noted else None,
        "ms_per_step": round(1000 * run.config["batch_size"] * int(cards) / speed),
        "images_per_second": round(speed),
        "mindspore": noted.get("mindspore"),
        "weights": weights.digest,
        "file": f"{run.config['model']}_byol_{spec}-{sha}.ckpt",
    }


def add_results(measured, file):
    """Puts scores of trained weights into what was measured: by recipe, and to the run whose weights they are of.

    Args:
        measured (dict): `runs` by recipe, `scores` by recipe and name.
        file (Path): Scores, a JSON object a line.

    Raises:
        ValueError, OSError: There are none.
    """
    records = [json.loads(line) for line in results.check_file(file)]
    if not records:
        raise FileNotFoundError(f"--results: {file}: no scores are there")
    for record in records:
        if record["features"] == "trained":
            name, value = record["score"], round(record["value"], 2)
            measured["scores"].setdefault(Path(record["recipe"] or record["task"]).stem, {})[name] = value
            for row in measured["runs"].values():
                if row["weights"] == record["weights"]:
                    row.setdefault("scores", {})[name] = value


def section(measured):
    """The text between the marks."""
    parts = ["### Runs\n", _row([*COLUMNS.values(), "recipe", "weight"]), "|---" * (len(COLUMNS) + 2) + "|"]
    for recipe, row in sorted(measured["runs"].items()):
        found = {**row, **_tops(row.get("scores", {}))}
        parts.append(_row([*(found.get(key) for key in COLUMNS), f"[{recipe}]({recipe}.yaml)", f"`{row['file']}`"]))
    parts.append("\n### Scores, published and ours\n")
    parts.append("Published numbers with their source; ours are empty until they are measured.")
    for table in tables.TABLES:
        parts += [f"\n**{table.title}**\n", _row(["", "ours", *table.published])]
        parts.append("|---" * (2 + len(table.published)) + "|")
        for place, (heading, recipe, score) in enumerate(table.columns):
            ours = measured["scores"].get(recipe, {}).get(score)
            parts.append(_row([heading, ours, *(numbers[place] for numbers in table.published.values())]))
    return "\n".join(parts) + "\n"


def _tops(scores):
    for name, what in _TOP:
        if f"{name}1" in scores:
            return {"top1": f"{scores[f'{name}1']:.2f} ({what})", "top5": scores.get(f"{name}5")}
    return {}


def _row(cells):
    shown = ("" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells)
    return f"| {' | '.join(shown)} |"


def page(measured):
    """The whole page, with the tables of what was measured."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{head}{BEGIN}\n{section(measured)}{END}{rest.partition(END)[2]}"


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="folder of a finished run")
    parser.add_argument("--recipe", help="whose run it is, a file of configs/byol")
    parser.add_argument("--results", help="file of scores")
    args = parser.parse_args(argv)
    if (args.run is None) != (args.recipe is None):
        raise ValueError("--run and --recipe belong together")
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    if args.run:
        measured["runs"][Path(args.recipe).stem] = of_run(args.run, args.recipe)
    if args.results:
        add_results(measured, args.results)
    for file, text in ((MEASURED, json.dumps(measured, indent=1, sort_keys=True) + "\n"), (PAGE, page(measured))):
        with replacing(file) as beside:
            beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
