"""Random numbers that are keyed, not streamed: each is a function of (seed, epoch, image, view).

A counter-based generator (Philox 4x64, Salmon et al. 2011) is keyed by the seed and its counter set to (epoch, index,
view), so nothing has to be drawn before: any view of any epoch can be made alone, in any order, by anybody.
"""

import numpy as np


def uniform(count, seed, epoch, index, view):
    """Draws the first numbers of a view.

    Args:
        count (int): How many.
        seed (int): Seed of the run.
        epoch (int): Epoch, from 0.
        index (int): Index of the image in its source.
        view (int): Number of the view, from 0.

    Returns:
        numpy.ndarray: float64, shape (count,), in [0, 1) with 53 random bits.
    """
    return (_generator(seed, epoch, index, view).random_raw(count) >> np.uint64(11)) * 2.0**-53


# In the place of a view's number: keeps these streams apart from those of the images, and from each other.
OF_IMAGES, OF_BATCHES = 2**32, 2**32 + 2


def permutation(seed, epoch, size, what=OF_IMAGES):
    """The order of an epoch: a permutation of range(size), a function of (seed, epoch) alone.

    Args:
        seed (int): Seed of the run.
        epoch (int): Epoch, from 0.
        size (int): Number of images, or of batches.
        what (int): `OF_IMAGES` or `OF_BATCHES`, whose orders have nothing to do with each other.

    Returns:
        numpy.ndarray: int64, shape (size,).
    """
    return np.argsort(_generator(seed, epoch, 0, what).random_raw(size), kind="stable")


def _generator(seed, epoch, index, view):
    key = np.array([seed % 2**64, 0], dtype=np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, view, index, epoch], dtype=np.uint64))
