"""The page of a run: what stands in it, that names cannot break it, and how a browser shows it."""

import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mindspore import Tensor

from mindbyol.commands import report as command
from mindbyol.reports import environment, report
from tests.reports.conftest import CONFIG, line, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def record(score, value, features="trained", **more):
    found = {"task": "knn", "recipe": "mine.yaml", "score": score, "value": value, "features": features}
    return {**found, "split": "9 images, val", "ckpt_path": "a.ckpt", **more}


def write_scores(folder, *records):
    (folder / "scores.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))


def test_the_page_of_a_run_has_its_numbers_pictures_and_next_commands(run):
    Image.new("RGB", (8, 8)).save(run / "views.png")
    (run / "rank0.log").write_text(
        "[2026-01-01 00:00:00] a.b WARNING - collapse: <near> 0\n"
        "[2026-01-01 00:00:01] a.b INFO - next: python validate.py --config 'my run/config.yaml'\n"
    )
    page = report.write(run).read_text()
    assert "photos: byol, resnet18, folder" in page and "finished: 2 epochs, 8 steps, 9 cats" in page
    cards = dict(re.findall(r"<b>([^<]*)</b><span>([^<]*)</span>", page))
    assert cards == {
        "0.250": "BYOL loss",
        "80%": "std of projections, share of 1/√d",
        "50.0%": "probe, top-1",
        "70.50%": "knn20 top1",
        "64": "images/s, median",
        "0:00:04": "training time",  # 8 steps of 32 images at 64 images/s
    }
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings == ["Curves", "What the network sees", "Configuration", "Environment", "Warnings", "Next"]
    assert page.count("data:image/png;base64,") == 2
    assert "collapse: &lt;near&gt; 0" in page and "--config &#x27;my run/config.yaml&#x27;" in page
    assert "base_lr: 0.3" in page  # config.yaml, whole
    assert not re.search(r"<script|https?://|<link", page)


def test_scores_stand_beside_published_ones_and_baselines(run):
    knn = {"recipe": "knn_resnet50_in1k.yaml", "split": "ImageNet"}
    write_scores(
        run,
        record("knn20_top1", 1.0, **knn),
        record("knn20_top1", 65.0, **knn),
        record("few_labels1_top1", 83.2),
        record("few_labels1_std", 2.8),
        record("few_labels1_top1", 56.0, "pixels"),
        record("few_labels1_std", 6.1, "pixels"),
    )
    page = report.write(run).read_text()
    assert "<h3>ImageNet, kNN, top-1</h3>" in page and "<td>64.20</td>" in page and "<td>1.00</td>" not in page
    assert "<tr class=ours><td>this checkpoint</td><td></td><td>65.00</td><td></td><td></td></tr>" in page
    assert "<th>trained</th><th>raw pixels</th>" in page
    assert "<td>few_labels1_top1</td><td>83.20 ± 2.80</td><td>56.00 ± 6.10</td>" in page


def test_no_name_becomes_part_of_the_page(tmp_path):
    bad = '<script>alert(1)</script>"&\u202e'
    run = write_run(tmp_path / "<img src=x onerror=alert(1)>", [line(2)], {**CONFIG, "dataset": bad})
    write_scores(run, record(bad, 1.0, bad, split=bad))
    (run / "rank0.log").write_text(f"[2026] a.b WARNING - {bad}\n[2026] a.b INFO - next: {bad}\n")
    page = report.write(run).read_text()
    assert "<script" not in page and "<img src=x" not in page and "\u202e" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;\\u202e") >= 5


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("metrics.jsonl", None, "neither metrics.jsonl nor scores.jsonl is there"),
        ("metrics.jsonl", "nonsense", "metrics.jsonl: line 1 is no line of a run's"),
        ("scores.jsonl", '{"score": 1}\n', "scores.jsonl: line 1 is no score"),
    ],
)
def test_what_is_damaged_is_said_in_a_line(run, name, text, message):
    (run / name).unlink() if text is None else (run / name).write_text(text)
    with pytest.raises(SystemExit, match=message):
        command.main([str(run)])
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("name, text", [("config.yaml", "- 1\n"), ("config.yaml", "{"), ("environment.json", "[3]")])
def test_without_recipe_or_environment_the_rest_is_there(run, name, text):
    (run / name).write_text(text)
    assert "<h2>Curves</h2>" in report.write(run).read_text()


def test_a_picture_that_is_none_is_left_out(run):
    (run / "map.png").write_bytes(b"no picture")
    assert "A map of the features" not in report.write(run).read_text()


def test_what_goes_wrong_at_the_end_of_a_run_is_a_warning(run, caplog):
    (run / "metrics.jsonl").write_text("nonsense")
    report.at_end(run)
    assert "no report: ValueError" in caplog.text and not (run / "report.html").exists()
    report.begin(run / "nowhere", None, None, None, ())
    assert caplog.text.count("no report: ") == 2


def test_the_beginning_of_a_run_is_noted_with_its_first_views(tmp_path):
    world = SimpleNamespace(target="CPU", ranks=2)
    plan = SimpleNamespace(effective_batch=64, steps_per_epoch=3, total_steps=30, epochs=10)
    source = SimpleNamespace(description="192 images")
    views = [np.zeros((5, 3, 16, 16), np.uint8) + value for value in (10, 200)]
    masks = Tensor(np.zeros((5, 20, 4, 4), np.uint8))  # beside images where masks are learned; no picture of them
    labels = Tensor(np.arange(5, dtype=np.int32))
    report.begin(tmp_path, world, plan, source, (*map(Tensor, views), masks, labels))
    noted = environment.read(tmp_path / "environment.json")
    assert noted["device"] == "CPU x 2" and noted["total_steps"] == 30 and noted["data"] == "192 images"
    sheet = np.array(Image.open(tmp_path / "views.png"))
    assert sheet.shape == (196, 496, 3)  # two rows of five tiles of 96 pixels, 4 between them
    assert (sheet[:96, :96] == 10).all() and (sheet[100:, 400:] == 200).all() and (sheet[96:100] == 255).all()


def test_scores_by_a_runs_own_recipe_are_called_after_their_task(tmp_path):
    write_scores(tmp_path, {**record("knn20_top1", 65.0), "recipe": "config.yaml"})
    assert "<h3>knn</h3>" in report.write(tmp_path).read_text()


def test_a_folder_of_scores_has_a_page(tmp_path):
    write_scores(tmp_path, record("knn20_top1", 65.0))
    page = report.write(tmp_path).read_text()
    assert "<td>65.00</td>" in page and "<h2>Scores</h2>" in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; on Debian: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_all_pictures_and_nothing_is_wider_than_the_window(run, tmp_path, width):
    """In a frame of this width; a script of the test's own, which the page itself forbids, measures it."""
    write_scores(run, *(record(f"a_long_name_of_a_score_{n}", 1.0, f"features {n % 9}") for n in range(18)))
    Image.new("RGB", (800, 200)).save(run / "map.png")
    text = report.write(run).read_text()
    script = (
        "<script>onload = () => { const images = [...document.images], page = document.documentElement;"
        "parent.document.title = [page.scrollWidth <= page.clientWidth, images.length,"
        "images.filter(i => i.complete && i.naturalWidth > 0).length].join(' '); }</script>"
    )
    measured = re.sub(r"<meta http-equiv=[^>]*>", script, text)
    frame = measured.replace("&", "&amp;").replace('"', "&quot;")
    outer = f'<!DOCTYPE html><title>not measured</title><iframe width={width} height=900 srcdoc="{frame}"></iframe>'
    (tmp_path / "outer.html").write_text(outer)
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-dev-shm-usage --no-first-run"
    )
    browser = [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000"]
    dom = subprocess.run(
        [*browser, "--dump-dom", f"file://{tmp_path / 'outer.html'}"], capture_output=True, text=True, timeout=120
    ).stdout
    assert re.search("<title>(.*?)</title>", dom)[1] == "true 2 2"
