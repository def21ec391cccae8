"""What a step is said to need: layers counted by hand, what is free from the system's files, and a real peak."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from mindcv.models.swintransformer import SwinTransformer
from mindspore import nn

from mindbyol.training import memory
from tests.tasks import tiny

NUMBERS = 3 * 8 * 8 + 3 * 8 * 8 + 4 * 4 * 4 + 64  # a convolution, a ReLU, a pool and what is flattened, below


def encoder():
    layers = nn.Conv2d(3, 3, 3), nn.SequentialCell(nn.ReLU(), nn.Conv2d(3, 4, 3, stride=2)), nn.Flatten()
    return nn.SequentialCell(*layers).set_train()


def test_outputs_of_all_layers_are_counted_and_nothing_stays():
    cell, call = encoder(), nn.Cell.__call__
    assert memory.outputs_of_layers(cell, 8) == NUMBERS
    assert nn.Cell.__call__ is call and all(one.training for _, one in cell.cells_and_names())
    with pytest.raises((RuntimeError, ValueError)):
        memory.outputs_of_layers(nn.SequentialCell(nn.Conv2d(5, 3, 3)), 8)
    assert nn.Cell.__call__ is call


class Network(SimpleNamespace):
    """With an encoder and so many parameters."""

    def get_parameters(self):
        return [SimpleNamespace(size=1000)]


FOR_WEIGHTS, FOR_IMAGE = 6 * 4 * 1000, 1.5 * 2 * 4 * NUMBERS


@pytest.mark.parametrize(
    "batches, free, warning",
    [
        (1, FOR_WEIGHTS + 65 * FOR_IMAGE, None),
        (1, FOR_WEIGHTS + 63 * FOR_IMAGE, "--batch_size 32 --effective_batch 64 --gradient_accumulation_steps auto"),
        (3, FOR_WEIGHTS + 30 * FOR_IMAGE, "--batch_size 16 --effective_batch 192"),
        (1, FOR_WEIGHTS, "take a smaller model, or a smaller --image_resize"),
    ],
)
def test_too_little_memory_is_said_with_what_to_do(batches, free, warning, monkeypatch, caplog):
    monkeypatch.setattr(memory, "free", lambda: free)
    text = memory.note(Network(online=encoder()), 64, 8, 64 * batches)
    needed = (FOR_WEIGHTS + 64 * FOR_IMAGE) / 1e9
    assert text == f"about {needed:.1f} GB for a step, of {free / 1e9:.1f} GB that are free"
    assert (warning is None and not caplog.records) or (warning in caplog.text and "batch_size: a step" in caplog.text)


def test_attention_holds_more_than_its_layers_give():
    swin = SwinTransformer(image_size=16, embed_dim=8, depths=[1], num_heads=[1], window_size=4)
    plain, attention = encoder(), nn.SequentialCell(encoder(), nn.LayerNorm((64,)))
    assert memory._multiple(plain) < memory._multiple(attention) < memory._multiple(swin)


def test_what_is_free_is_the_least_of_machine_and_container(tmp_path):
    meminfo = tmp_path / "meminfo"
    assert memory.free(meminfo, tmp_path) is None
    meminfo.write_text("MemTotal:  16 kB\nMemAvailable:  9 kB\n")
    assert memory.free(meminfo, tmp_path) == 9 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.free(meminfo, tmp_path) == 9 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory.free(meminfo, tmp_path) == 4000


PROGRAM = """
import re, resource, sys
from mindbyol.commands import train
train.main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("model, size, batch", [("resnet18", 96, 24), ("swin_tiny", 224, 4)])
def test_a_real_step_needs_about_what_is_said(model, size, batch, tmp_path):
    flags = f"--model {model} --image_resize {size} --batch_size {batch} --num_samples {batch} --epoch_size 1".split()
    flags += ["--dataset", "digits", "--warmup_epochs", "0", "--report", "False", "--val_while_train", "False"]
    argv = [sys.executable, "-c", PROGRAM, *flags, "--ckpt_save_dir", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tiny.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    said = float(done.stdout.partition("Memory: about ")[2].split()[0])
    peak = float(done.stdout.rpartition("peak ")[2])
    assert 0.6 * peak < said + 0.5 < 1.5 * peak  # half a gigabyte is Python and MindSpore themselves
