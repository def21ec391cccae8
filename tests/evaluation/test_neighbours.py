"""The nearest rows, against brute force in float64."""

import tracemalloc

import numpy as np
import pytest

from mindbyol.evaluation.neighbours import nearest

TILES = [(8192, 256), (64, 7), (13, 256), (1, 1), (500, 3)]  # rows of the bank, queries


def brute_force(bank, queries, k):
    """Similarities and indices in float64; of equally similar rows those with lower indices first."""
    bank, queries = (rows.astype(np.float64) for rows in (bank, queries))
    unique, copies = np.unique(bank, axis=0, return_inverse=True)  # else equal rows may differ in the last bit
    products = queries @ unique.T / np.maximum(np.linalg.norm(unique, axis=1), 1e-12)
    similarity = (products / np.maximum(np.linalg.norm(queries, axis=1), 1e-12)[:, None])[:, copies.reshape(-1)]
    index = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, index, 1), index


def random_rows(count, width, seed):
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


@pytest.mark.parametrize("tile, block", TILES)
@pytest.mark.parametrize("k", [1, 10, 200, 501])
def test_equals_brute_force_in_any_tiles(tile, block, k):
    bank, queries = random_rows(501, 33, 0), random_rows(23, 33, 1)
    similarity, index = nearest(bank, queries, k, tile, block)
    expected = brute_force(bank, queries, k)
    np.testing.assert_array_equal(index, expected[1])
    np.testing.assert_allclose(similarity, expected[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("tile, block", TILES)
def test_of_equal_rows_the_first_are_taken(tile, block):
    bank = np.repeat(random_rows(60, 19, 0), 7, axis=0)[np.random.default_rng(2).permutation(420)]
    queries = random_rows(5, 19, 1)
    np.testing.assert_array_equal(nearest(bank, queries, 10, tile, block)[1], brute_force(bank, queries, 10)[1])


@pytest.mark.parametrize("tile, block", TILES)
def test_many_more_equal_rows_than_are_asked_for(tile, block):
    """Of a collapsed backbone, all rows are equal; with values of +-1/4 all sums are exact, in any order."""
    bank = np.ones((333, 16), np.float32)
    bank[100:, 0] = -1
    queries = np.ones((2, 16), np.float32) * [[1], [-1]]
    _, index = nearest(bank, queries, 50, tile, block)
    np.testing.assert_array_equal(index, [np.arange(50), np.arange(100, 150)])


@pytest.mark.parametrize("tile, block", TILES)
def test_float64_decides_where_float32_sees_no_difference(tile, block):
    """Cosines of 1 - 1e-10 and the like are 1 in float32."""
    slopes = np.random.default_rng(3).permutation(20) + 1
    bank = np.column_stack([np.ones(20), 1e-5 * slopes]).astype(np.float32)
    bank = np.concatenate([np.tile(np.float32([[0.1, 1]]), (90, 1)), bank])
    _, index = nearest(bank, np.float32([[2, 0]]), 5, tile, block)
    np.testing.assert_array_equal(index, [90 + np.argsort(slopes)[:5]])


def test_lengths_do_not_count_and_nothing_has_no_direction():
    bank = np.float32([[0, 0], [1e-18, 0], [0, 1e18], [1e18, 1e18]])
    similarity, index = nearest(bank, np.float32([[1e-9, 0], [0, 0]]), 4)
    np.testing.assert_array_equal(index, [[3, 1, 0, 2], [0, 1, 2, 3]])
    np.testing.assert_allclose(similarity, [[0.5**0.5, 1e-6, 0, 0], [0, 0, 0, 0]], rtol=1e-6)


def test_a_bank_on_disk_that_may_not_be_written_to(tmp_path):
    bank, queries = random_rows(100, 8, 0), random_rows(9, 8, 1)
    np.save(tmp_path / "bank.npy", bank)
    _, index = nearest(np.load(tmp_path / "bank.npy", mmap_mode="r"), queries, 7, tile=32)
    np.testing.assert_array_equal(index, brute_force(bank, queries, 7)[1])


def test_memory_beside_the_bank_is_that_of_a_tile():
    bank, queries = random_rows(40_000, 256, 0), random_rows(64, 256, 1)  # 41 MB
    tracemalloc.start()
    nearest(bank, queries, 10, tile=512, block=16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * bank.nbytes, peak
