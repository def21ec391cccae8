import pytest

from mindbyol.cpu import guard_cpu


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
