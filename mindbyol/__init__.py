"""BYOL (Bootstrap Your Own Latent) for MindSpore and Ascend, in MindCV's conventions."""

from mindbyol.cpu import guard_cpu

__version__ = "0.1.0"

# Before anything imports MindSpore; runtime.setup() logs the note.
cpu_guard_note = guard_cpu()
