"""Images one after the other, each at its own size, read ahead by threads: what dense evaluations go through."""

from collections import deque

import numpy as np

from mindbyol.data.bad_images import BadImages
from mindbyol.data.loader import share
from mindbyol.data.workers import BatchMaker, ThreadWorkers

_AHEAD = 2  # images in the making, a worker


class OneByOne:
    """Every image of a rank's share once, in the order of the source.

    Args:
        source (Source): Where the images are from; with targets.
        transform (Callable): (image, target) to whatever is to be had of them; `takes_target` is true.
        settings (LoaderSettings): Ranks, workers, and what is done with unreadable images.
    """

    def __init__(self, source, transform, settings):
        self.source = source
        self.settings = settings
        self._reader = _Reader(source, transform, settings.seed, settings.on_bad_image, settings.background)
        self._bad_images = BadImages(source, settings.output_dir, settings.on_bad_image)
        self._indices = np.arange(len(source))[share(len(source), settings.rank, settings.ranks)]

    def __len__(self):
        """Images of this rank."""
        return len(self._indices)

    def __iter__(self):
        """Yields the index of each image in the source and what the transform made of it.

        Of an unreadable image that was replaced, the index is that of the one in its place.

        Raises:
            DataError: Too many cannot be read, or a target is not what it must be.
        """
        workers = ThreadWorkers(self._reader, None, self.settings.workers, 0)
        pending, waiting = deque(), deque(self._indices.tolist())
        try:
            while waiting or pending:
                while waiting and len(pending) < _AHEAD * self.settings.workers:
                    pending.append(workers.submit(None, 0, 0, [waiting.popleft()]))
                index, made, replaced = pending.popleft().result()
                self._bad_images.replace(np.array([index]), replaced)
                if made is not None:
                    yield index, made
        finally:
            workers.close()


class _Reader(BatchMaker):
    """Does for one image what a `BatchMaker` does for the rows of a batch."""

    def fill(self, _arrays, _first_row, _epoch, indices):
        """Returns the index of the image that was read, what became of it, and what `BadImages.replace` takes."""
        used, given, reasons = self.read(indices[0])
        made = None if given is None else self._transform(*given)
        return used, made, [(0, used, reasons)] if reasons else []
