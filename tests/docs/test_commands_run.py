"""What the docs say runs on two CPU cores with what the repository carries, does: in order, as it stands there.

Left out are the demo, the tests and what installs packages. BYOL itself is cut to an epoch, and in the place of the
demo's checkpoint, which the later commands take, stands one that has not learned.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, blocks
from tests.tasks.classifiers import write_backbone
from tests.tasks.tiny import free_port

SHORT = ["--epoch_size", "1", "--warmup_epochs", "0"]


def commands():
    """(where, words) of each command that is run."""
    for page in PAGES:
        for block in blocks(page):
            if block.language == "shell" and block.needs is None:
                yield from ((block.where, words) for words in block.commands() if runs(words))


def runs(words):
    return words[0] == "python" or words[:2] == ["bash", "scripts/run_distribute_train_ascend.sh"]


@pytest.mark.slow
def test_commands_of_the_docs_run(tmp_path):
    for name in ("train.py", "validate.py", "scripts", "configs", "mindbyol"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "ckpt" / "digits").mkdir(parents=True)
    write_backbone(tmp_path / "ckpt" / "digits" / "resnet18-40_1800_backbone.ckpt", "resnet18", stages=2)
    environ = {**os.environ, "MASTER_PORT": str(free_port())}
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]])
    done = set()
    for where, words in commands():
        if any("configs/byol/" in word for word in words) and "train.py" in words:
            words = [*words, *SHORT, "--ckpt_save_dir", f"ckpt/run{len(done)}"]
        if tuple(words) in done:
            continue  # both READMEs have it
        done.add(tuple(words))
        result = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert result.returncode == 0, f"{where}: {' '.join(words)}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
    assert len(done) > 8
