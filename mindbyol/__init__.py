"""BYOL (Bootstrap Your Own Latent) for MindSpore and Ascend, in MindCV's conventions."""

import typing

from mindbyol.cpu import guard_cpu, quiet_compiler
from mindbyol.version import __version__  # noqa: F401

if typing.TYPE_CHECKING:  # what `__getattr__` gives, for editors and type checkers
    from mindbyol.api import embed, load, pretrain

__all__ = ["embed", "load", "pretrain"]

# Before MindSpore runs its first operator; runtime.setup() logs the note.
cpu_guard_note = guard_cpu()
quiet_compiler()


def __getattr__(name):
    """The functions of `mindbyol.api`, which imports MindSpore, when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'mindbyol' has no attribute '{name}'")
    from mindbyol import api

    return getattr(api, name)


def __dir__():
    return sorted([*globals(), *__all__])
