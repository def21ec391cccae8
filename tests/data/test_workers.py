import os

import pytest

from mindbyol.data import workers


@pytest.mark.parametrize(
    "mine, launchers, ranks, expected",
    [
        (192, 192, 1, 16),
        (192, 192, 8, 16),  # 24, of which 16 are enough
        (64, 64, 8, 8),  # shared
        (8, 64, 8, 8),  # bound by `msrun --bind_core=True`: the 64 have been divided already
        (24, 192, 8, 16),
        (2, 2, 8, 1),
        (2, None, 8, 1),  # the launcher has ended and /proc tells nothing of it
    ],
)
def test_cores_are_divided_among_ranks_once(monkeypatch, mine, launchers, ranks, expected):
    """A machine of 192 cores is not here, so that what it would say is put in the place of this one's."""

    def affinity(process):
        if process and launchers is None:
            raise ProcessLookupError
        return set(range(launchers if process else mine))

    monkeypatch.setattr(os, "sched_getaffinity", affinity)
    monkeypatch.setattr(os, "cpu_count", lambda: mine)
    assert workers.default_workers(ranks) == expected
