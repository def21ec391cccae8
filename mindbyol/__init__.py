"""BYOL (Bootstrap Your Own Latent) for MindSpore and Ascend, in MindCV's conventions."""

from mindbyol.cpu import guard_cpu
from mindbyol.version import __version__  # noqa: F401

# Before MindSpore runs its first operator; runtime.setup() logs the note.
cpu_guard_note = guard_cpu()
