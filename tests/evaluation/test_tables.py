"""The tables of a suite: our scores in the columns of the published ones, and what is missing."""

from pathlib import Path

import pytest

from mindbyol.config import parse_args
from mindbyol.evaluation import tables

SUITES = sorted((Path(__file__).parents[2] / "configs/suite").glob("*.yaml"))


def test_a_score_stands_above_the_published_one():
    ours = {"knn20_top1": 65.0, "knn10_top1": 64.0, "knn10_top5": 80.0}
    (table,) = tables.fill({"knn_resnet50_in1k": ours})
    assert table["columns"] == ["k = 10", "k = 20", "k = 100", "k = 200"]
    assert list(table["rows"].values())[:2] == [[64.0, 65.0, None, None], [63.9, 64.2, 62.9, 61.9]]
    lines = tables.markdown([table], {}).splitlines()
    assert lines[:3] == ["### ImageNet, kNN, top-1", "", "|  | k = 10 | k = 20 | k = 100 | k = 200 |"]
    assert lines[4] == "| this checkpoint | 64.00 | 65.00 |  |  |"


def test_a_recipe_without_data_leaves_its_cells_empty_and_says_why():
    made = tables.fill({"linear_resnet50_mmselfsup_in1k_ascend": {}, "mine": {"top1": 50.0}})
    assert [table["title"] for table in made] == ["ImageNet, linear, top-1", "mine"]
    assert made[0]["rows"]["this checkpoint"] == [None] * 6 and made[1]["rows"] == {"top1": [50.0]}
    text = tables.markdown(made, {"linear_resnet50_mmselfsup_in1k_ascend": "data_dir: nowhere is not a folder"})
    assert "| top1 | 50.00 |" in text
    assert text.endswith("- linear_resnet50_mmselfsup_in1k_ascend: data_dir: nowhere is not a folder\n")


def test_every_row_has_a_number_a_column():
    for table in tables.TABLES:
        assert all(len(numbers) == len(table.columns) for numbers in table.published.values()), table.title


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_the_protocols_of_a_suite_are_those_of_the_tables(path):
    protocols = parse_args(["-c", str(path)], "validate").protocols
    assert all((path.parent / protocol).is_file() for protocol in protocols)
    names = {Path(protocol).stem for protocol in protocols}
    in_tables = {recipe for table in tables.TABLES for _, recipe, _ in table.columns}
    assert names <= in_tables or not names & in_tables
