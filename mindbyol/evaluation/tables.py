"""The tables that a suite of protocols ends with: our scores, and beneath them what others have published.

Sources of the published rows: mmselfsup, `configs/selfsup/byol/README.md`, branch 0.x and main; Grill et al. 2020
(arXiv 2006.07733v3), tables 1 and 3.
"""

from typing import NamedTuple

_STAGES = tuple(f"Feature{number}" for number in range(1, 6))
_STAGE_SCORES = tuple(f"feature{number}_top1" for number in range(1, 6))
_ACCUMULATED = "mmselfsup, 200 epochs, 8 x 32 x 16 accumulated"
_LARGE = "mmselfsup, 200 epochs, 16 x 256"
_LONG = "mmselfsup, 300 epochs, 8 x 32 x 16 accumulated"
_PAPER = "Grill et al. 2020, 1000 epochs"
_SHOTS = (1, 2, 4, 8, 16, 32, 64, 96)
_NEIGHBOURS = (10, 20, 100, 200)
# Column, recipe, score: of the paper's table 3. Its Birdsnap has no recipe here.
_TRANSFER = (
    ("Food101", "food101", "top1", 75.3),
    ("CIFAR10", "cifar10", "top1", 91.3),
    ("CIFAR100", "cifar100", "top1", 78.4),
    ("SUN397", "sun397", "top1", 62.2),
    ("Cars", "cars", "top1", 67.8),
    ("Aircraft", "aircraft", "mean_per_class", 60.6),
    ("VOC2007", "voc07", "map_11_point", 82.5),
    ("DTD", "dtd", "top1", 75.5),
    ("Pets", "pets", "mean_per_class", 90.4),
    ("Caltech-101", "caltech101", "mean_per_class", 94.2),
    ("Flowers", "flowers102", "mean_per_class", 96.1),
)


class Table(NamedTuple):
    """A published table.

    Attributes:
        title (str): Heading.
        columns (tuple): For each column its heading, the recipe that our score is from, and the score's name.
        published (dict): Row by where it is from: a number a column, None where there is none.
    """

    title: str
    columns: tuple
    published: dict


def _columns(headings, recipe, scores):
    return tuple((heading, recipe, score) for heading, score in zip(headings, scores))


TABLES = (
    Table(
        "ImageNet, linear, top-1",
        _columns(_STAGES, "multihead_resnet50_in1k_ascend", _STAGE_SCORES)
        + (("AvgPool", "linear_resnet50_mmselfsup_in1k_ascend", "top1"),),
        {
            _ACCUMULATED: (15.16, 35.26, 47.77, 63.10, 71.21, 71.72),
            _LARGE: (15.41, 35.15, 47.77, 62.59, 71.85, 71.88),
            _LONG: (None, None, None, None, None, 72.93),
        },
    ),
    Table(
        "ImageNet, linear with a sweep of rates",
        (
            ("top-1", "linear_resnet50_paper_in1k_ascend", "top1"),
            ("top-5", "linear_resnet50_paper_in1k_ascend", "top5"),
        ),
        {_PAPER: (74.3, 91.6)},
    ),
    Table(
        "Places205, linear, top-1",
        _columns(_STAGES, "multihead_resnet50_places205_ascend", _STAGE_SCORES),
        {_ACCUMULATED: (21.25, 36.55, 43.66, 50.74, 53.82), _LONG: (21.18, 36.68, 43.42, 51.04, 54.06)},
    ),
    Table(
        "iNaturalist 2018, linear, top-1",
        _columns(_STAGES, "multihead_resnet50_inat18_ascend", _STAGE_SCORES),
        {},
    ),
    Table(
        "ImageNet, kNN, top-1",
        _columns([f"k = {k}" for k in _NEIGHBOURS], "knn_resnet50_in1k", [f"knn{k}_top1" for k in _NEIGHBOURS]),
        {_ACCUMULATED: (63.9, 64.2, 62.9, 61.9), _LONG: (66.1, 66.3, 65.2, 64.4)},
    ),
    Table(
        "VOC07, SVM and low-shot SVM, mAP",
        (("SVM", "svm_resnet50_voc07", "svm_map"),)
        + _columns([f"k = {k}" for k in _SHOTS], "low_shot_resnet50_voc07", [f"low_shot_k{k}_map" for k in _SHOTS]),
        {_ACCUMULATED: (86.31, 45.37, 56.83, 68.47, 74.12, 78.30, 81.53, 83.56, 84.73)},
    ),
    Table(
        "Linear transfer",
        tuple((heading, f"transfer_resnet50_{name}", f"transfer_{score}") for heading, name, score, _ in _TRANSFER),
        {_PAPER: tuple(value for *_, value in _TRANSFER)},
    ),
)


def fill(scores):
    """Our scores in the published tables; those of recipes that no table has in tables of their own.

    Args:
        scores (dict[str, dict[str, float]]): The scores of each recipe of a suite; empty where there are
            none.

    Returns:
        list[dict]: `title`, `columns` (list[str]) and `rows` (lists of numbers or None by where they are from) of each
        table that a recipe of the suite belongs to; where recipes have a table of their own, a row is a score.
    """
    filled, used = [], set()
    for table in TABLES:
        recipes = {recipe for _, recipe, _ in table.columns}
        if recipes & scores.keys():
            used |= recipes
            ours = [scores.get(recipe, {}).get(score) for _, recipe, score in table.columns]
            rows = {"this checkpoint": ours, **{where: list(numbers) for where, numbers in table.published.items()}}
            filled.append({"title": table.title, "columns": [column[0] for column in table.columns], "rows": rows})
    for recipe in [name for name in scores if name not in used]:
        rows = {score: [value] for score, value in scores[recipe].items()}
        filled.append({"title": recipe, "columns": ["this checkpoint"], "rows": rows})
    return filled


def markdown(filled, missing):
    """The tables as people read them.

    Args:
        filled (list[dict]): As of `fill`.
        missing (dict[str, str]): Recipes without scores, and why.

    Returns:
        str: Markdown.
    """
    blocks = []
    for table in filled:
        lines = [f"### {table['title']}", "", _row("", table["columns"]), "|---" * (len(table["columns"]) + 1) + "|"]
        lines += [_row(where, numbers) for where, numbers in table["rows"].items()]
        blocks.append("\n".join(lines))
    if missing:
        blocks.append("\n".join(["Left out:", "", *(f"- {name}: {why}" for name, why in missing.items())]))
    return "\n\n".join(blocks) + "\n"


def _row(title, cells):
    shown = ("" if cell is None else cell if isinstance(cell, str) else f"{cell:.2f}" for cell in cells)
    return f"| {title} | {' | '.join(shown)} |"
