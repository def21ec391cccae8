"""validate.py with the task `transfer`, as typed."""

import json

import pytest

from tests.tasks import tiny

# The recipe is one of the task `byol`, whose keys tiny.RECIPE has, too.
FLAGS = {"task": "transfer", "config": "configs/byol/byol_resnet18_digits_cpu.yaml", "baselines": True, "stages": 4}
FLAGS = {**FLAGS, "script": tiny.VALIDATE, "num_samples": 301, "l2_count": 5, "image_resize": 8, "batch_size": 8}


@pytest.mark.slow
def test_two_ranks_give_the_scores_of_one(tmp_path):
    tiny.run(tmp_path / "one", results=tmp_path / "1.json", **FLAGS)
    output = tiny.run_msrun(tmp_path / "two", results=tmp_path / "2.json", **FLAGS)
    assert output.count("transfer of untrained") == 1  # one log
    one, two = ([json.loads(line) for line in (tmp_path / f"{n}.json").read_text().splitlines()] for n in (1, 2))
    scores = [{(line["features"], line["score"]): line["value"] for line in lines} for lines in (one, two)]
    assert scores[0] == scores[1] and len(scores[0]) == 6
    assert scores[0]["pixels", "transfer_top1"] > 80
