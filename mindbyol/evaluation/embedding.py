"""Features of a folder of any size, with file names: in parts that ranks share and a later run goes on from.

The images are cut into parts of equal size. Rank r of n computes every n-th part and writes each to a file of its own;
whoever finishes the last one joins them. So ranks need no talk among each other, a run that was stopped loses one part
at the most, and no more than one part is in memory at any time.
"""

import hashlib
import logging
import math
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from mindbyol.data import EvalLoader, EvalTransform
from mindbyol.data.decode import DataError
from mindbyol.data.image_files import Subset
from mindbyol.evaluation.features import FeatureExtractor, compute
from mindbyol.files import replacing

logger = logging.getLogger(__name__)

PART = 2048  # images, about
_DAMAGES = (zipfile.BadZipFile, ValueError, KeyError, EOFError)  # What reading a damaged part raises.


class Written(NamedTuple):
    """What is in the file of features.

    Attributes:
        rows (int): Images.
        width (int): Numbers an image.
        left_out (int): Images that could not be read, of which there is no row.
    """

    rows: int
    width: int
    left_out: int


def prepare(subject, crop_pct=0.875):
    """What becomes of an image, and of a batch of them, on the way to features of a backbone.

    Args:
        subject (Subject): The backbone; see `weights.subject.open_subject`.
        crop_pct (float): Side of the centre crop, of the shorter side.

    Returns:
        tuple[EvalTransform, FeatureExtractor]: Image to uint8 (3, H, W), and batch to (B, F).

    Raises:
        ValueError: The weights do not say how images are to be normalised.
    """
    card = subject.card
    if card.mean is None or card.std is None:
        raise ValueError(
            f"{subject.path}: says nothing of mean and std, so images cannot be normalised; take one of train.py"
        )
    return EvalTransform(subject.image_size, crop_pct), FeatureExtractor(subject.backbone, card.mean, card.std)


def compute_rows(extractor, loader, bar):
    """The features of a loader's images under their names; images that cannot be read are left out.

    Args:
        extractor (Callable[[Tensor], Tensor]): See `features.compute`.
        loader (EvalLoader): Of images of which the unreadable are left out.
        bar (tqdm): Moves on by the images of each batch.

    Yields:
        tuple[ndarray, list[str]]: Features (B, F) float32 and names of a batch, in the order of the source.

    Raises:
        DataError: Features are not finite; the message names the image.
    """
    for features, indices, counts in compute(extractor, loader):
        bar.update(int(counts.sum()))
        features = features[counts]
        names = [loader.source.name(int(index)) for index in indices[counts]]
        finite = np.isfinite(features).all(1)
        if not finite.all():
            raise DataError(
                f"{names[np.argmin(finite)]} has features that are NaN or infinite: these weights cannot be "
                "used with such images (have they diverged, or does their model card have a wrong mean or std?)"
            )
        yield features, names


class Embedding:
    """The features of a source, part by part.

    Args:
        source (ImageFiles): Images; see `data.create_source`.
        transform (EvalTransform): What becomes of an image.
        output (Path): File to write: .npz (`features` (N, F) float32, `names` (N,)), .csv or .parquet.
        identity (str): What the features depend on beside the images, such as the digest of the weights.
        settings (LoaderSettings): Batch size, ranks, workers and background. Images that cannot be read are left out,
            unless `on_bad_image` is "stop".

    Raises:
        ValueError: The kind of file is unknown, needs a package that is missing, or unfinished parts of other weights
            or settings lie beside `output`. (Parts with images that have changed since are removed.)
    """

    def __init__(self, source, transform, output, identity, settings):
        self.output = Path(output)
        if self.output.suffix not in _JOIN:
            raise ValueError(
                f"output: {self.output} is of no kind that can be written; it must end in {', '.join(_JOIN)}"
            )
        if self.output.suffix == ".parquet":
            _pyarrow()
        self.source, self.transform = source, transform
        self.rank, self.ranks, self.batch_size = settings.rank, settings.ranks, settings.batch_size
        self.part_size = max(1, PART // self.batch_size) * self.batch_size
        self.parts = math.ceil(len(source) / self.part_size)
        # Ranks share the parts here, so that a loader has all the images that it is given.
        alone = {"rank": 0, "ranks": 1, "num_parallel_workers": settings.workers}
        at_bad = "stop" if settings.on_bad_image == "stop" else "leave_out"
        self._loader_settings = replace(settings, **alone, on_bad_image=at_bad)
        self.folder = self.output.with_name(self.output.name + ".parts")
        # A part's name says what it was made from.
        made_with = f"{identity} {settings.background} {self.part_size}"
        self._settings = hashlib.sha256(made_with.encode()).hexdigest()[:12]
        self._images = [_digest(source, self._range(part)) for part in range(self.parts)]
        self._open_folder()

    def _open_folder(self):
        if self.folder.is_symlink() or self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{self.folder}: is in the way of the folder for unfinished features; rename or delete it")
        self.folder.mkdir(exist_ok=True)
        left = list(self.folder.glob("*.npz"))
        if any(file.name.split("-")[0] != self._settings for file in left):
            raise ValueError(
                f"{self.folder}: holds unfinished features of other weights, size, crop, background or batch size; "
                "finish those first, write to another file, or delete the folder"
            )
        wanted = {self._file(part) for part in range(self.parts)}
        stale = [file for file in left if file not in wanted]
        if stale:
            logger.warning(
                "images have changed since they were embedded: %d of %d parts in %s are made anew",
                len(stale),
                len(left),
                self.folder,
            )
        for file in stale:
            file.unlink(missing_ok=True)  # another rank may have been faster
        for part in range(self.rank, self.parts, self.ranks):
            self._drop_unless_whole(self._file(part))
        if self.rank == 0:
            (self.folder / "joining").unlink(missing_ok=True)  # left by a run that was killed

    def _range(self, part):
        """The indices of a part's images."""
        return range(len(self.source))[part * self.part_size : (part + 1) * self.part_size]

    def _drop_unless_whole(self, file):
        """Removes a part that was cut off, or in which images are missing: they may be readable by now."""
        try:
            with np.load(file) as arrays:
                missing = int(arrays["left_out"])
        except FileNotFoundError:
            return
        except _DAMAGES:
            logger.warning("%s is damaged: it is made anew", file)
            file.unlink()
        else:
            if missing:
                logger.info("%d images of %s could not be read: trying again", missing, file)
                file.unlink()

    def _file(self, part):
        return self.folder / f"{self._settings}-{self._images[part]}-{part:06d}.npz"

    def run(self, extractor, progress=True):
        """Computes this rank's share of what is missing; joins the parts if none is missing any more.

        Args:
            extractor (Cell): (B, 3, H, W) uint8 to (B, F).
            progress (bool): Show a progress bar.

        Returns:
            Written or None: What was written to `output`; None if other ranks are still at it.

        Raises:
            DataError: No image can be read, or one cannot and that is to stop it; features are not finite, or a part
                was damaged since it was written.
            OSError: A file cannot be written.
        """
        todo = [part for part in range(self.rank, self.parts, self.ranks) if not self._file(part).exists()]
        indices = [np.array(self._range(part)) for part in todo]
        if todo:
            subset = Subset(self.source, np.concatenate(indices))
            loader = EvalLoader(subset, self.transform, self._loader_settings)
            with tqdm(total=len(subset), unit="img", disable=not progress) as bar:
                rows = compute_rows(extractor, loader, bar)
                for part, expected in zip(todo, indices):
                    self._write_part(part, rows, math.ceil(len(expected) / self.batch_size))
        if not all(self._file(part).exists() for part in range(self.parts)):
            return None
        return self._join()

    def _write_part(self, part, rows, batches):
        features, names = zip(*(next(rows) for _ in range(batches)))
        names = np.array(sum(names, []), dtype=np.str_)
        asked = len(self._range(part))
        with replacing(self._file(part)) as beside, open(beside, "wb") as file:
            np.savez(file, features=np.concatenate(features), names=names, left_out=asked - len(names))

    def _join(self):
        try:
            os.close(os.open(self.folder / "joining", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return None  # another rank is at it
        parts = [self._file(part) for part in range(self.parts)]
        left_out = sum(int(count) for (count,) in _read(parts, "left_out"))
        if left_out == len(self.source):
            shutil.rmtree(self.folder)
            raise DataError(f"data_dir: none of {self.source.description} can be read; are they images?")
        with replacing(self.output) as beside:
            width = _JOIN[self.output.suffix](beside, parts)
        shutil.rmtree(self.folder)
        if left_out:
            logger.warning(
                "%d of %d images cannot be read and %s left out",
                left_out,
                len(self.source),
                "is" if left_out == 1 else "are",
            )
        return Written(len(self.source) - left_out, width, left_out)


def _digest(source, indices):
    """Names, sizes and times of some images, in short."""
    sha = hashlib.sha256()
    for index in indices:
        try:
            status = os.stat(source.path(index))
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:  # Gone since it was indexed: it will be left out.
            state = "unreadable"
        sha.update(f"{source.name(index)} {state}\n".encode())
    return sha.hexdigest()[:12]


def _read(parts, *keys):
    """Yields the arrays of these names, part by part."""
    for part in parts:
        try:
            with np.load(part) as file:
                arrays = [file[key] for key in keys]
            if "features" in keys:
                _check_rows(*arrays)
        except _DAMAGES as error:
            part.unlink()
            raise DataError(
                f"output: {part} was damaged ({error}) and is removed; start again, only its images are computed anew"
            ) from error
        yield arrays


def _check_rows(features, names):
    """Raises a ValueError unless there is one row of finite numbers a name."""
    if features.dtype != np.float32 or features.ndim != 2 or names.dtype.kind != "U":
        raise ValueError("no rows of numbers with names")
    if names.shape != features.shape[:1] or not np.isfinite(features).all():
        raise ValueError("not one row of finite numbers a name")


def _join_npz(path, parts):
    """An .npz like np.savez's, written without holding it in memory: the sizes are known before the rows.

    As its likes it returns the width of the rows.
    """
    rows, width, letters = 0, 0, 1
    for features, names in _read(parts, "features", "names"):
        rows, width = rows + len(features), features.shape[1]
        letters = max(letters, names.dtype.itemsize // 4)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for entry, dtype, shape in (
            ("features", np.dtype("<f4"), (rows, width)),
            ("names", np.dtype(f"<U{letters}"), (rows,)),
        ):
            with archive.open(f"{entry}.npy", "w", force_zip64=True) as file:
                header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for features, names in _read(parts, "features", "names"):
                    file.write((features if entry == "features" else names).astype(dtype).tobytes())
    return width


def _join_csv(path, parts):
    import csv

    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, (features, names) in enumerate(_read(parts, "features", "names")):
            if number == 0:
                writer.writerow(["name", *(f"f{column}" for column in range(features.shape[1]))])
            writer.writerows([name, *map(repr, row)] for name, row in zip(names, features.tolist()))
    return features.shape[1]


def _join_parquet(path, parts):
    pyarrow, parquet = _pyarrow()
    writer = None
    try:
        for features, names in _read(parts, "features", "names"):
            values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(features.ravel()), features.shape[1])
            table = pyarrow.table({"name": names.tolist(), "features": values})
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
        return features.shape[1]
    finally:
        if writer:
            writer.close()


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError("output: a .parquet file needs pyarrow; pip install -r requirements-export.txt") from None
    return pyarrow, pyarrow.parquet


_JOIN = {".npz": _join_npz, ".csv": _join_csv, ".parquet": _join_parquet}
