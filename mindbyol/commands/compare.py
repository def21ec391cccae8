"""Compares a backbone with the untrained one and with raw pixels: near images, changed ones, and few labels.

    python scripts/compare.py ckpt/digits                               a run: its newest backbone, its recipe
    python scripts/compare.py byol_r50.ckpt --config RECIPE -o scores   any weights, any recipe with labels

The scores are those of `validate.py --task compare --baselines True`. Writes to a folder: scores.jsonl, to which they
are added; label_efficiency.png, top-1 by labels a class; changed_neighbours.png, changed queries with their neighbours
by the backbone and by pixels; and in the folder of a run its report.html. All other flags are validate.py's.
"""

import argparse
import logging

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    import numpy as np

    from mindbyol.commands.of_checkpoint import backbone_of, output_folder, recipe_flags
    from mindbyol.config import parse_args
    from mindbyol.config.values import rgb
    from mindbyol.data import eval_transform_from_args
    from mindbyol.data.names import printable
    from mindbyol.evaluation import compare, runner
    from mindbyol.evaluation.neighbours import nearest
    from mindbyol.reports import drawing, report, sheets
    from mindbyol.reports.shown_images import image_of, tile_of
    from mindbyol.terminal import setup_logging

NAMES = {"trained": "BYOL", "untrained": "untrained", "pixels": "raw pixels"}
_QUERIES, _NEIGHBOURS = 6, 5


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="weights file of any known project, or the folder of a run")
    parser.add_argument("-o", "--output", help="folder to write to (default: that of the checkpoint)")
    own, flags = parser.parse_known_args(argv)
    setup_logging()
    logging.getLogger(runner.__name__).setLevel(logging.WARNING)  # the same numbers follow in a table
    file = backbone_of(own.checkpoint)
    folder = output_folder(own.output, file)
    scores = ["--task", "compare", "--baselines", "True", "--results", str(folder / "scores.jsonl")]
    recipe = parse_args([*recipe_flags(file, flags), *scores], "validate")
    if recipe.dataset == "folder":
        raise ValueError("dataset: a plain folder has no labels to score with; scripts/map.py needs none")
    protocol = WithNeighbours()
    evaluation = runner.Evaluation(recipe, protocol)
    counts = compare.possible_counts(recipe, evaluation.sources["bank"])
    records = evaluation.run()
    if evaluation.world.rank:
        return
    value = {(record["features"], record["score"]): record["value"] for record in records}
    lines = {
        name: (counts, *([value[features, f"few_labels{n}_{what}"] for n in counts] for what in ("top1", "std")))
        for features, name in NAMES.items()
    }
    figure = drawing.spread_lines(lines, "labels a class", "top-1 (%)", logarithmic=True)
    drawing.save(figure, folder / "label_efficiency.png")
    blocks = protocol.blocks(recipe, evaluation.sources)
    title = "Changed queries and the training images nearest to them, by the features of BYOL and by raw pixels"
    drawing.save(sheets.draw_neighbours(blocks, title, across=2), folder / "changed_neighbours.png", photographs=True)
    print(f"\n{table(recipe, value, counts, evaluation.sources)}\n")
    print(f"pictures: {printable(folder / 'label_efficiency.png')}, {printable(folder / 'changed_neighbours.png')}")
    if (folder / "metrics.jsonl").exists():
        print(f"report: {printable(report.write(folder))}")


class WithNeighbours:
    """The protocol, which also keeps what is nearest to some changed queries: the first image of some classes."""

    splits = staticmethod(compare.splits)
    check_data = staticmethod(compare.check_data)

    def __init__(self):
        self.found = {}

    def run(self, recipe, subject, sources, tools):
        """See `compare.run`."""
        yield from compare.run(recipe, subject, sources, tools)
        if subject.name != "untrained":
            bank, _ = tools.features(subject, sources["bank"])
            changed, _ = tools.features(subject, sources["queries"], compare.changed_query(recipe))
            queries = changed[self._queries(sources)]
            self.found[NAMES[subject.name]] = nearest(bank, queries, min(_NEIGHBOURS, len(bank)))[1]

    def blocks(self, recipe, sources):
        """The sheet: each query as it was changed, and its neighbours by each kind of features."""
        bank, queries, blocks = sources["bank"], sources["queries"], []
        plain, changed = eval_transform_from_args(recipe), compare.changed_query(recipe)
        behind = rgb(recipe.background)
        for number, query in enumerate(self._queries(sources)):
            label = queries.labels[query]
            rows = {
                name: [tile_of(bank, n, plain, behind, label) for n in of_all[number]]
                for name, of_all in self.found.items()
            }
            image = image_of(queries, query, changed, behind, recipe.seed)
            blocks.append(sheets.Block(sheets.Tile(image, str(queries.class_names[label])), rows))
        return blocks

    @staticmethod
    def _queries(sources):
        classes, first = np.unique(sources["queries"].labels, return_index=True)
        count = min(_QUERIES, len(classes))
        return first[np.arange(count) * len(classes) // count]


def table(recipe, value, counts, sources):
    """What was found, in aligned lines, and what it was found on.

    Args:
        recipe (Recipe): Of the task `compare`.
        value (dict[tuple[str, str], float]): By features and score.
        counts (list[int]): Labels a class.
        sources (dict[str, Source]): By role.
    """
    scored = sorted({int(score[3:-5]) for _, score in value if score.startswith("knn") and score.endswith("_top1")})
    k = 20 if 20 in scored else scored[0]
    header = ["top-1, %", f"kNN, k = {k}", "changed queries", *(f"{n} label{'s' * (n > 1)}" for n in counts)]
    rows = [header]
    for features, name in NAMES.items():
        of_labels = [(value[features, f"few_labels{n}_top1"], value[features, f"few_labels{n}_std"]) for n in counts]
        plain = [f"{value[features, score]:.2f}" for score in (f"knn{k}_top1", f"changed_knn{k}_top1")]
        rows.append([name, *plain, *(f"{mean:.1f} ± {spread:.1f}" for mean, spread in of_labels)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]) for row in rows]
    smallest, largest = (100 * share for share in recipe.changed_scale)
    within = {
        True: "changes that the training's augmentation makes, too",
        False: "more than the training's augmentation does",
        None: "whether the training did the like is not known from this recipe",
    }[compare.within_training(recipe)]
    changes = (
        f"cropped to {smallest:g}-{largest:g}% of the area, brightness up to ±{recipe.changed_brightness:g} of white"
    )
    notes = [
        f"queries: {sources['queries'].description}; bank and labels: {sources['bank'].description}",
        f"changed queries: {changes}: {within}",
        f"labels: so many a class; logistic regression, standardised features, {recipe.few_labels_draws} draws, ± std",
    ]
    return "\n".join([*lines, "", *notes])
