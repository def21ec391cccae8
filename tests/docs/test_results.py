"""The tables of results are made of a run's files and of a file of scores."""

import hashlib
import json
import runpy
import shutil

import pytest

import mindbyol
from mindbyol.config import parse_args
from tests.docs.blocks import ROOT
from tests.reports.conftest import NOTED, line, write_run
from tests.tasks.classifiers import write_backbone

RECIPE = ROOT / "configs/byol/byol_resnet18_digits_cpu.yaml"


@pytest.fixture
def script(tmp_path):
    """docs/write_results.py on copies of the page and of what was measured so far: nothing."""
    module = runpy.run_path(str(ROOT / "docs/write_results.py"))
    names = module["main"].__wrapped__.__globals__
    names.update(MEASURED=tmp_path / "measured.json", PAGE=tmp_path / "README.md")
    shutil.copy(ROOT / "configs/byol/README.md", tmp_path)
    names["MEASURED"].write_text('{"runs": {}, "scores": {}}')
    return names


@pytest.fixture
def run(tmp_path):
    """A finished run of the digits' recipe."""
    folder = write_run(tmp_path / "run", [line(4), line(8)], noted={**NOTED, "compile_seconds": 7.4, "cores": 2})
    (folder / "config.yaml").write_text(parse_args(["-c", str(RECIPE), "--seed", "3"]).text(without=("resume",)))
    write_backbone(folder / "resnet18-2_8_backbone.ckpt", "resnet18", stages=2, image_size=16)
    return folder


def write_scores(folder, weights, **scores):
    record = {"task": "knn", "recipe": "knn_resnet50_in1k.yaml", "features": "trained", "weights": weights}
    lines = [{**record, "score": name, "value": value} for name, value in scores.items()]
    lines.append({**lines[0], "features": "pixels", "value": 1.0})
    (folder / "scores.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return folder / "scores.jsonl"


def test_a_run_and_its_scores_fill_their_places(script, run, tmp_path):
    scores = write_scores(tmp_path, mindbyol.load(run).digest, knn20_top1=98.591, knn20_top5=99.5, knn10_top1=97.0)
    script["main"](["--run", str(run), "--recipe", str(RECIPE), "--results", str(scores)])
    page = script["PAGE"].read_text()
    sha = hashlib.sha256((run / "resnet18-2_8_backbone.ckpt").read_bytes()).hexdigest()[:8]
    (row,) = [text for text in page.splitlines() if "[byol_resnet18_digits_cpu]" in text and "16x16" in text]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert (
        cells[0] == "resnet18"
        and cells[2] == "1 x CPU, None, 2 cores"
        and cells[3:7] == ["32", "16x16", "default", "7 s"]
    )
    assert cells[7:11] == ["500", "64", "98.59 (kNN, k = 20)", "99.50"]  # 32 images at 64 a second
    assert cells[12] == f"`resnet18_byol_digits_cpu-{sha}.ckpt`"
    assert "| k = 20 | 98.59 | 64.20 | 66.30 |" in page and "| k = 100 |  | 62.90 | 65.20 |" in page
    script["main"]([])
    assert script["PAGE"].read_text() == page


def test_scores_of_other_weights_are_not_the_runs(script, run, tmp_path):
    scores = write_scores(tmp_path, "others", knn20_top1=12.0)
    script["main"](["--run", str(run), "--recipe", str(RECIPE), "--results", str(scores)])
    page = script["PAGE"].read_text()
    assert "12.00 (kNN" not in page and "| k = 20 | 12.00 | 64.20" in page


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda run: (run / "environment.json").unlink(), "is not finished, or has no environment.json"),
        (lambda run: write_run(run, [line(4)]), "has task|is not finished"),
        (
            lambda run: (run / "config.yaml").write_text(f"base: {RECIPE}\nbase_lr: 1"),
            "has base_lr 1.0, byol_.* has 12.0",
        ),
    ],
)
def test_what_is_no_run_of_the_recipe_is_refused(script, run, change, message):
    config = (run / "config.yaml").read_text()
    change(run)
    if "base_lr" not in message:
        (run / "config.yaml").write_text(config)
    before = script["PAGE"].read_text()
    with pytest.raises(SystemExit, match=message):
        script["main"](["--run", str(run), "--recipe", str(RECIPE)])
    with pytest.raises(SystemExit, match="no scores are there"):
        script["main"](["--results", str(run / "none.jsonl")])
    assert script["PAGE"].read_text() == before
