import os
import platform
import subprocess
import sys

import pytest

import mindspore as ms

from mindbyol.cpu import guard_cpu, quiet_compiler


@pytest.mark.parametrize(
    "flags, version, before, after",
    [
        ({"avx2", "avx512f"}, "2.10.0", {}, "AVX2"),
        ({"avx2", "avx512f"}, "2.9.0", {}, "AVX2"),
        ({"avx2", "avx512f"}, "2.8.0", {}, None),
        ({"avx2"}, "2.10.0", {}, None),
        ({"avx2", "avx512f"}, "2.10.0", {"ONEDNN_MAX_CPU_ISA": "ALL"}, "ALL"),
    ],
)
def test_cpu_guard(flags, version, before, after):
    environ = dict(before)
    note = guard_cpu(flags, version, environ)
    assert environ.get("ONEDNN_MAX_CPU_ISA") == after
    assert (note is not None) == (after == "AVX2")


def test_the_compiler_is_quiet_unless_the_user_wants_to_hear_it():
    for before, after in (({}, "{ANALYZER:3}"), ({"GLOG_v": "1"}, None), ({"MS_SUBMODULE_LOG_v": "{X:0}"}, "{X:0}")):
        environ = dict(before)
        quiet_compiler(environ)
        assert environ.get("MS_SUBMODULE_LOG_v") == after


_LATE = """
import os
import mindspore as ms
import numpy as np
os.environ["ONEDNN_MAX_CPU_ISA"] = "SSE41"
ms.nn.Conv2d(1, 1, 3)(ms.Tensor(np.zeros((1, 1, 8, 8), np.float32))).asnumpy()
"""


OLDER = tuple(map(int, ms.__version__.split(".")[:2])) < (2, 9)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the limit is one of x86")
@pytest.mark.skipif(OLDER, reason="MindSpore before 2.9 has another oneDNN, which needs no limit")
def test_a_limit_counts_though_mindspore_is_imported_before_it_is_set():
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN")}
    environ["ONEDNN_VERBOSE"] = "1"
    done = subprocess.run([sys.executable, "-c", _LATE], capture_output=True, text=True, env=environ)
    assert "cpu,isa:Intel SSE4.1" in done.stdout, done.stdout + done.stderr
