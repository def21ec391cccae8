"""What a protocol gets from the runner: features, and the other ranks without knowing them."""

import logging

import numpy as np

import mindbyol
from mindbyol import runtime
from mindbyol.checkpoint import NonFinite
from mindbyol.data import eval_loader_from_args, eval_transform_from_args, loader_settings_from_args
from mindbyol.data.loader import share
from mindbyol.data.one_by_one import OneByOne
from mindbyol.data.rows import EvalRows
from mindbyol.data.sources import fingerprint
from mindbyol.data.workers import default_workers
from mindbyol.evaluation import feature_files
from mindbyol.evaluation.classification import score
from mindbyol.evaluation.features import FeatureExtractor, extract, in_memory, pixels

logger = logging.getLogger(__name__)

_BITS = 20
_PART = 2**_BITS - 1  # float32 holds every whole number up to 2^24
_ROUNDING = 1e-6  # of float32, relative


class Constant(RuntimeError):
    """All images have the same features."""


class Tools:
    """Features, each computed once, and what several ranks need to share work.

    Args:
        recipe (Recipe): Of a task that scores.
        world (World): Devices that score together.
    """

    def __init__(self, recipe, world):
        self._recipe = recipe
        self._world = world
        self._communicator = runtime.Communicator(world)
        self._subject = None
        self._extractors = {}
        self._features = {}

    def features(self, subject, source, transform=None, read_out=None):
        """Features of all images of a source; all ranks must ask, and all get them.

        Those of one subject at a time are kept in memory; those of all in the recipe's `features_dir`, if there is one.

        Args:
            subject (Scored): What gives them. Raw pixels are themselves whatever is to be read out.
            source (Source): The images.
            transform (Callable): What becomes of an image: "image", uint8 (3, H, W); see `data.views`. Its public
                attributes are all that it depends on. By default the recipe's EvalTransform.
            read_out (object): What of the backbone is taken: `name` (str), which no other read-out has, and
                `cell(backbone)`, a Cell from normalised images (N, 3, H, W) to (N, F). By default the backbone itself,
                which gives its pooled features.

        Returns:
            tuple[ndarray, ndarray or None]: (N, F) float32, not to be written to, and the labels, in the order of the
            source.

        Raises:
            NonFinite: Some are NaN or infinite.
            Constant: They are the same for all images.
            OSError: They cannot be kept in `features_dir`.
        """
        if subject is not self._subject:
            self._subject, self._extractors, self._features = subject, {}, {}
        transform = transform or eval_transform_from_args(self._recipe)
        name = read_out.name if read_out else "pooled"
        key = id(source), _identity(transform), name
        if key not in self._features:
            if name not in self._extractors:
                self._extractors[name] = _extractor(subject, read_out)
            loader = eval_loader_from_args(self._recipe, source, self._world.rank, self._world.ranks, transform)
            parts = _telling(extract(self._extractors[name], loader, self._communicator.gather), subject, source)
            if self._recipe.features_dir:
                features, images = self._on_disk(self._facts(subject, source, transform, name), len(source), parts)
            else:
                features, images = in_memory(len(source), parts)
                features.flags.writeable = False
            labels = None if source.labels is None else np.asarray(source.labels)[images]
            self._features[key] = source, features, labels  # the source stays, or another one might get its id
        return self._features[key][1:]

    def _facts(self, subject, source, transform, read_out):
        """All that features depend on."""
        card = subject.card
        network = {key: getattr(card, key) for key in ("model", "stem", "padding", "stages")} if card else None
        return {
            "subject": subject.name,
            "weights": subject.digest,
            "network": network,
            "mean": list(map(float, subject.mean)),
            "std": list(map(float, subject.std)),
            "images": {"count": len(source), **fingerprint(source)},
            "on_bad_image": self._recipe.on_bad_image,
            "background": self._recipe.background,
            "transform": _identity(transform),
            "read_out": read_out,
            "mindbyol": mindbyol.__version__,
        }

    def _on_disk(self, facts, count, parts):
        """Features from `features_dir`; `parts` is run through if they are not there. Rank 0 writes."""
        path = feature_files.path_of(self._recipe.features_dir, facts["subject"], facts)
        first = self._world.rank == 0
        if self._communicator.any(first and feature_files.is_whole(path, facts)):
            logger.info(f"Features: {path}")
        else:
            if first:
                feature_files.write(path, facts, count, parts)
            else:
                for _ in parts:
                    pass
            self._communicator.barrier()
        return feature_files.read(path)

    def classify(self, logits_of, source):
        """Scores classifiers on images, each rank its share; all ranks must ask. See `classification.score`."""
        loader = eval_loader_from_args(self._recipe, source, self._world.rank, self._world.ranks)
        return score(logits_of, loader, self._communicator.gather)

    def classify_rows(self, logits_of, features, labels):
        """The same of features (N, F) that were computed before, and their labels (N,)."""
        settings = loader_settings_from_args(self._recipe, self._world.rank, self._world.ranks)
        return score(logits_of, EvalRows(features, labels, settings), self._communicator.gather)

    @property
    def devices(self):
        """What works, for a table: `Ascend x 8`."""
        return f"{self._world.target} x {self._world.ranks}"

    @property
    def workers(self):
        """Processes that this rank may start for its share of the work."""
        return self._recipe.num_parallel_workers or default_workers(self._world.ranks)

    def share(self, count):
        """The slice of `count` rows that this rank works on."""
        return share(count, self._world.rank, self._world.ranks)

    def total(self, counts):
        """Sums over the ranks, exact for counts below 2^24.

        Args:
            counts (sequence[float]): One number each; all ranks must bring as many.

        Returns:
            ndarray: float64.
        """
        return self._communicator.gather(np.array(counts, np.float32)).astype(np.float64).sum(0)

    def total_counts(self, counts):
        """Sums of whole numbers over the ranks, exact up to 2^60: pixels of a data set are more than float32 counts.

        Args:
            counts (ndarray): int64, of any shape, not negative; the same shape on all ranks.

        Returns:
            ndarray: int64, of that shape.
        """
        parts = np.stack([counts >> shift & _PART for shift in (0, _BITS, 2 * _BITS)])
        sums = self._communicator.gather(parts.astype(np.float32)).astype(np.int64).sum(0)
        return sums[0] + (sums[1] << _BITS) + (sums[2] << 2 * _BITS)

    def gather_bytes(self, data):
        """What each rank brings, on all ranks.

        Args:
            data (bytes): Of any length.

        Returns:
            list[bytes]: One each, in the order of the ranks.
        """
        if self._world.ranks == 1:
            return [data]
        parts = np.array([len(data) >> _BITS, len(data) & _PART], np.float32)
        lengths = self._communicator.gather(parts).astype(np.int64) @ [1 << _BITS, 1]
        triples = max(1, -(-int(lengths.max()) // 3))
        padded = np.frombuffer(data.ljust(3 * triples, b"\0"), np.uint8).reshape(-1, 3)
        numbers = padded.astype(np.float32) @ np.float32([2**16, 2**8, 1])  # 24 bits, which float32 holds
        gathered = self._communicator.gather(numbers).astype(np.uint32)
        bytes_of = np.stack([gathered >> 16, gathered >> 8 & 255, gathered & 255], 2).astype(np.uint8)
        return [row.tobytes()[:length] for row, length in zip(bytes_of, lengths.tolist())]

    def one_by_one(self, source, transform):
        """This rank's share of the images of a source, each at its own size; see `data.one_by_one`."""
        settings = loader_settings_from_args(self._recipe, self._world.rank, self._world.ranks)
        return OneByOne(source, transform, settings)

    @property
    def is_first(self):
        """Whether this is the rank that shows and writes."""
        return self._world.rank == 0

    def on_first_rank(self, work, count):
        """What the first rank finds, on all ranks: for work that cannot be shared.

        Args:
            work (Callable): Returns so many numbers, which float32 must hold.
            count (int): How many.

        Returns:
            ndarray: (count,) float64.
        """
        return self.total(work() if self._world.rank == 0 else np.zeros(count))


def _extractor(subject, read_out):
    if subject.backbone is None:
        return pixels
    network = read_out.cell(subject.backbone) if read_out else subject.backbone
    return FeatureExtractor(network, subject.mean, subject.std)


def _identity(transform):
    """What tells a transform from another one, as a text: its class and its public attributes."""
    public = (f"{name}={value!r}" for name, value in sorted(vars(transform).items()) if not name.startswith("_"))
    return f"{type(transform).__name__}({', '.join(public)})"


def _telling(parts, subject, source):
    """The parts of `extract`, up to an error at their end if they tell nothing: a score would be one of a guess.

    NaN is near to nothing. Features are equal when they differ by rounding alone.
    """
    bad, first, equal = 0, None, len(source) > 1
    for part in parts:
        features = part[1]
        bad += np.count_nonzero(~np.isfinite(features).all(1))
        if equal and len(features):
            first = features[0].copy() if first is None else first
            equal = np.abs(features - first).max() <= _ROUNDING * np.abs(first).max()
        yield part
    what = f"ckpt_path: the {subject.name} features of"
    if bad:
        raise NonFinite(
            f"{what} {bad} of {source.description} are NaN or infinite, so there is no score: the weights are not "
            "those of a healthy run"
        )
    if equal:
        raise Constant(
            f"{what} all of {source.description} are equal, so there is no score: the weights are those of a run that "
            "has collapsed, or mean and std are not on the 0-255 scale"
        )
