"""What must be set before MindSpore is imported, or runs its first operator; this module needs none of the packages."""

import importlib.metadata
import os
from pathlib import Path

_CPU_ISA = "ONEDNN_MAX_CPU_ISA"
_LEVELS, _LEVEL = "MS_SUBMODULE_LOG_v", "GLOG_v"  # of MindSpore's messages


def guard_cpu(cpu_flags=None, mindspore_version=None, environ=os.environ):
    """Keeps oneDNN off the convolution kernels that are some 40 times slower on AVX-512 CPUs.

    The oneDNN inside MindSpore 2.9 and newer falls to a reference loop for forward convolutions when it may use
    AVX-512; limited to AVX2 it takes its matrix-product kernel. It reads the limit once, at its first operator:
    `import mindbyol` sets it, whether before or after `import mindspore`. A value that the user has set is left alone.

    Args:
        cpu_flags (set[str]): Instruction sets of the CPU; read from the machine by default.
        mindspore_version (str): Version of the installed MindSpore; looked up by default.
        environ (dict): Environment to change.

    Returns:
        str or None: What was done, for the log; None when nothing had to be done.
    """
    if cpu_flags is None:
        cpu_info = Path("/proc/cpuinfo")
        cpu_flags = set(cpu_info.read_text().split()) if cpu_info.exists() else set()
    if mindspore_version is None:
        try:
            mindspore_version = importlib.metadata.version("mindspore")
        except importlib.metadata.PackageNotFoundError:
            return None
    major, minor = (int(part) for part in mindspore_version.split(".")[:2])
    if (major, minor) < (2, 9) or "avx512f" not in cpu_flags or _CPU_ISA in environ:
        return None
    environ[_CPU_ISA] = "AVX2"
    return f"{_CPU_ISA}=AVX2 was set: convolutions of MindSpore {mindspore_version} are slow with AVX-512"


def quiet_compiler(environ=os.environ):
    """Keeps MindSpore's compiler from warning, dozens of times a step, of nodes that it leaves out as it should.

    "Some side effect nodes were eliminated by mistake" comes with every step, also with those whose results are equal
    to the reference's. MindSpore reads the levels when it is imported. Levels that the user has set are left alone.

    Args:
        environ (dict): Environment to change.
    """
    if _LEVELS not in environ and _LEVEL not in environ:
        environ[_LEVELS] = "{ANALYZER:3}"  # errors only
