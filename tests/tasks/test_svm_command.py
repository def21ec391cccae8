"""validate.py on VOC's layout, as typed: several layers, and the same scores on two ranks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tasks.tiny import ROOT, free_port
from tests.voc_layout import write_places

FLAGS = "--mode 1 --num_parallel_workers 1 --model resnet18 --stages 1 --image_resize 32 --short_side 36".split()
FLAGS += ["--svm_costs", "10", "0.01"]
SCORES = ["svm_feature1_map", "svm_feature2_map", "svm_map"]


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voc")
    write_places(folder / "VOCdevkit/VOC2007", "trainval", 4, jitter=50)
    write_places(folder / "VOCdevkit/VOC2007", "test", 2, first=1000, jitter=50)
    return folder


def validate(task, voc, folder, ranks=1):
    """Scores by what feature they are of and name, and what was printed."""
    recipe = f"configs/{task}/{task}_resnet50_voc07.yaml"
    flags = [*FLAGS, *(["--low_shot_k", "1", "3"] if task == "low_shot" else [])]
    arguments = ["validate.py", "--config", recipe, "--data_dir", voc, "--baselines", "True", *flags]
    arguments += ["--results", folder / f"{ranks}.json", "--features_dir", folder / f"kept{ranks}"]
    launch = ["msrun", "--worker_num=2", "--local_worker_num=2", f"--master_port={free_port()}", "--join=True"]
    launch += [f"--log_dir={folder}/log"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*([sys.executable] if ranks == 1 else launch), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout
    records = map(json.loads, (folder / f"{ranks}.json").read_text().splitlines())
    return {(record["features"], record["score"]): record["value"] for record in records}, done.stdout


@pytest.mark.slow
def test_two_ranks_score_the_stages_as_one_does(voc, tmp_path):
    one, _ = validate("svm", voc, tmp_path)
    assert [name for of, name in one if of == "untrained"] == SCORES
    assert [name for of, name in one if of == "pixels"] == ["svm_pixels_map", "svm_map"]
    assert all(40 < value < 98 for value in one.values())  # chance is 5
    assert one["untrained", "svm_map"] == max(one["untrained", name] for name in SCORES)
    two, _ = validate("svm", voc, tmp_path, ranks=2)
    assert two == pytest.approx(one, abs=0.5)  # rounding may change the order of two images
    assert [len(list(tmp_path.glob(f"kept{ranks}/svm-untrained-*/*.json"))) for ranks in (1, 2)] == [40, 40]


@pytest.mark.slow
def test_low_shot_scores_each_size_of_each_stage(voc, tmp_path):
    one, output = validate("low_shot", voc, tmp_path)
    assert len(one) == 3 * 4 + 2 * 4 and "best layer: feature" in output
    assert 20 < one["untrained", "low_shot_k1_map"] < one["untrained", "low_shot_k3_map"] <= 100
    assert one == validate("low_shot", voc, tmp_path, ranks=2)[0]
