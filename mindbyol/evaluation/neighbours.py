"""The nearest rows of a bank by cosine similarity: exact, whatever the sizes, in little more memory than the bank.

The bank is gone through once, tile by tile. A product in float32 compares a tile with a block of queries, and each
query keeps the nearest so far: a few more than are asked for, since float32 may misplace those at the border. In the
end float64 puts these in order. So the result depends neither on tiles and blocks nor on how a processor sums up.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

_SPARE = 24  # Rows kept beyond k. What float32 takes for farther than so many others is never nearest in float64.
_SHORTEST = 1e-12  # Vectors are divided by their length, or by this.


def nearest(bank, queries, k, tile=8192, block=512):
    """The k rows of a bank that are most similar to each query; of equally similar ones those with lower indices.

    Args:
        bank (ndarray): (N, D), float, finite. It may be mapped from a file.
        queries (ndarray): (M, D), float, finite.
        k (int): How many, at most N.
        tile (int): Rows of the bank in a product.
        block (int): Queries in a product, at most. Each thread holds `block` x `tile` similarities.

    Returns:
        tuple[ndarray, ndarray]: Cosine similarities (M, k) float64, the largest first, and the indices of the rows
        (M, k).
    """
    size = min(k + _SPARE, len(bank))
    best = np.full((len(queries), size), -np.inf, np.float32)
    index = np.zeros((len(queries), size), np.int64)
    lengths = np.empty(len(bank))
    similarity = np.empty((len(queries), k))
    # As many threads as the product would take, each with products of its own: then selecting is shared, too.
    cores = max((library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"), default=1)
    block = max(1, min(block, -(-len(queries) // cores)))
    blocks = [slice(start, start + block) for start in range(0, len(queries), block)]

    def compare(thread):
        for rows in blocks[thread::cores]:
            some = _unit(queries[rows], _lengths(queries[rows]))
            product = np.matmul(some, units.T, out=products[thread, : len(some)])
            for query, its_best, its_index in zip(product[:, :count], best[rows], index[rows]):
                _keep_nearest(query, first, its_best, its_index)

    def settle(thread):
        rows = np.empty((size, bank.shape[1]), bank.dtype)
        for query in range(thread, len(queries), cores):
            found = _in_order(bank, lengths, queries[query], index[query], k, rows)
            similarity[query], index[query, :k] = found

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores) as threads:
        # All products have one shape, a multiple of what processors sum up at once: so float32, too, takes equal rows
        # for equally similar.
        units = np.zeros((-(-min(tile, len(bank)) // 64) * 64, bank.shape[1]), np.float32)
        products = np.empty((cores, block, len(units)), np.float32)
        for first in range(0, len(bank), tile):
            rows = bank[first : first + tile]
            count = len(rows)
            lengths[first : first + count] = _lengths(rows)
            _unit(rows, lengths[first : first + count], units[:count])
            list(threads.map(compare, range(cores)))
        list(threads.map(settle, range(cores)))
    return similarity, index[:, :k]


def _keep_nearest(similarity, first, best, index):
    """Replaces, in place, the nearest rows so far by those of them and of a tile.

    Args:
        similarity (ndarray): (T,), of the rows of the tile.
        first (int): Index of its first row. All rows before it have been seen.
        best, index (ndarray): (K,), similarities in descending order, and indices.
    """
    closer = np.flatnonzero(similarity > best[-1])
    if len(closer) > 4 * len(best):  # as in the first tile: sorting all would take long
        least = np.partition(similarity[closer], -len(best))[-len(best)]
        closer = closer[similarity[closer] >= least]
    if len(closer):
        both = np.concatenate([best, similarity[closer]])
        order = np.argsort(-both, kind="stable")[: len(best)]  # lower indices stand before
        index[:] = np.concatenate([index, first + closer])[order]
        best[:] = both[order]


def _in_order(bank, lengths, query, index, k, rows):
    """The k nearest of some rows of the bank, which are copied to `rows`, by similarities in float64.

    Each is computed by itself, so that equal rows are equally similar wherever they stand.
    """
    index = np.sort(index)
    np.take(bank, index, axis=0, out=rows, mode="clip")  # the mode that writes to `out` at once
    query = query / _lengths(query[None]).astype(np.float64)
    similarity = np.einsum("nd,d->n", rows, query) / lengths[index]
    order = np.argsort(-similarity, kind="stable")[:k]
    return similarity[order], index[order]


def _lengths(rows):
    return np.maximum(np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64)), _SHORTEST)


def _unit(rows, lengths, out=None):
    return np.divide(rows, lengths.astype(np.float32)[:, None], out=out, dtype=np.float32, casting="same_kind")
