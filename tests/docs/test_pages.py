"""The pages are current, their links lead somewhere, and their examples run."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import yaml

import mindbyol
import tests.tiny_model  # noqa: F401  (the model `tiny`)
from mindbyol import data, tasks
from mindbyol.commands import validate
from mindbyol.config import parse_args
from mindbyol.terminal import someone_elses_logging
from tests.docs.blocks import PAGES, ROOT, blocks

DOCS = ROOT / "docs"


def anchors(page):
    """What `#...` may name on a page, as GitHub and mkdocs make it of headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"\w+:", target):
            file, _, anchor = target.partition("#")
            file = page.parent / file if file else page
            assert file.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_both_readmes_have_the_same_commands_and_lead_to_the_same_files():
    english, chinese = ((ROOT / name) for name in ("README.md", "README_CN.md"))
    without_remarks = [
        [re.sub(r"\s*#.*", "", line) for block in blocks(page) for line in block.text.splitlines()]
        for page in (english, chinese)
    ]
    assert without_remarks[0] == without_remarks[1]
    files = [
        set(re.findall(r"\]\(((?:docs|mindbyol)/[^)\s#]+)", page.read_text("utf-8"))) for page in (english, chinese)
    ]
    assert files[0] == files[1]


def test_the_page_of_keys_is_current():
    module = runpy.run_path(str(DOCS / "write_keys.py"))
    assert (DOCS / "keys.md").read_text(encoding="utf-8") == module["page"](), "run python docs/write_keys.py"


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.py")))
def test_scripts_start_in_a_clone(name, tmp_path):
    """Without the package installed, from any folder; what they write is asked of others."""
    program = f"import runpy\nrunpy.run_path({str(DOCS / name)!r})"
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_tables_of_results_are_current():
    module = runpy.run_path(str(DOCS / "write_results.py"))
    measured = json.loads(module["MEASURED"].read_text(encoding="utf-8"))
    assert module["PAGE"].read_text(encoding="utf-8") == module["page"](measured), "run python docs/write_results.py"


def test_the_pictures_can_be_drawn():
    for name in ("draw_method.py", "draw_augmentation.py"):
        figure = runpy.run_path(str(DOCS / name))["draw"]()
        assert figure.axes


def test_the_site_builds_with_strict_links(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "site" / "keys" / "index.html").is_file()


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == mindbyol.__version__
    assert {"cff-version", "title", "authors", "message"} < citation.keys()


def example(title):
    """The text of a block of docs/contributing.md."""
    (block,) = (block for block in blocks(DOCS / "contributing.md") if title in block.title)
    return block.text


def module_of(text, name):
    module = types.ModuleType(name, None)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def test_the_example_of_a_protocol_scores(tmp_path, monkeypatch, capsys):
    """Raw pixels of the digits, against the same in NumPy."""
    module = module_of(example("nearest_mean.py"), "nearest_mean")
    module.__doc__ = example("nearest_mean.py").split('"""')[1]
    monkeypatch.setitem(sys.modules, "mindbyol.evaluation.nearest_mean", module)
    monkeypatch.setitem(tasks.TASKS, "nearest_mean", "mindbyol.evaluation.nearest_mean")
    flags = "--task nearest_mean --dataset digits --image_resize 8 --crop_pct 1 --baselines True --model tiny"
    with someone_elses_logging():
        validate.main([*flags.split(), "--results", str(tmp_path / "scores.jsonl")])
    scores = [yaml.safe_load(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    (found,) = (one["value"] for one in scores if one["features"] == "pixels")
    train, val = (data.create_source("digits", split=split) for split in ("train", "val"))
    rows, queries = (np.stack([s[i].ravel() for i in range(len(s))]).astype(float) for s in (train, val))
    means = np.stack([rows[train.labels == digit].mean(0) for digit in range(10)])
    distances = np.linalg.norm(queries[:, None] - means, axis=2)
    assert found == pytest.approx(100 * (distances.argmin(1) == val.labels).mean(), abs=0.3)


def test_the_example_of_a_data_set_is_a_source():
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    source = module_of(example("a source"), "source").Arrays(images, [0, 1, 2, 1, 0])
    assert (len(source), source.class_names, source.name(3)) == (5, ["0", "1", "2"], "image 3")
    settings = data.LoaderSettings(2, num_parallel_workers=1)
    loader = data.EvalLoader(source, data.EvalTransform(8, 1.0), settings)
    found = [batch.arrays["image"][batch.counts] for batch in loader]
    np.testing.assert_array_equal(np.concatenate(found), images.transpose(0, 3, 1, 2))


def test_the_example_of_a_recipe_is_one(tmp_path):
    (tmp_path / "recipe.yaml").write_text(example("knn_my_photos.yaml"))
    recipe = parse_args(["--config", str(tmp_path / "recipe.yaml")], "validate")
    assert (recipe.task, recipe.knn_k, recipe.image_resize) == ("knn", (5, 20), 96)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """Its code cells, with two epochs."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "docs").mkdir()
    cells = yaml.safe_load((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert "epochs=40" in code
    code = code.replace("epochs=40", "epochs=3").replace("%matplotlib inline", "").replace('".."', repr(str(ROOT)))
    (tmp_path / "docs" / "cells.py").write_text(code)
    result = subprocess.run(
        [sys.executable, "cells.py"],
        cwd=tmp_path / "docs",
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert re.search(r"BYOL +\d+\.\d % \+- ", result.stdout)


def test_the_notebook_was_executed():
    cells = yaml.safe_load((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    pictures = [output for cell in code for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(pictures) == 3 and not any(o["output_type"] == "error" for c in code for o in c["outputs"])
