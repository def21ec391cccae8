"""Pretraining and features in a program or a notebook: `mindbyol.pretrain`, `load` and `embed`.

    run = mindbyol.pretrain("photos/", model="resnet18", epochs=50)
    backbone = mindbyol.load(run.folder)
    features, names = mindbyol.embed(backbone, "photos/")

They are what train.py and scripts/embed.py do, with values in the place of flags.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np
from tqdm import tqdm

from mindbyol import runtime, tasks
from mindbyol.config import recipe_from
from mindbyol.config.values import colour, rgb
from mindbyol.data import DataError, EvalLoader, LoaderSettings, create_source
from mindbyol.evaluation.embedding import compute_rows, prepare
from mindbyol.terminal import setup_logging, someone_elses_logging
from mindbyol.training.loop import Run
from mindbyol.training.run_folder import newest_weights, release
from mindbyol.weights.subject import Subject, open_subject

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Pretrained:
    """A run of `pretrain`: its files are those of train.py.

    Attributes:
        folder (Path): Checkpoints, metrics.jsonl, config.yaml, log.
        finished (bool): Whether it came to its last epoch; one that was interrupted goes on with `resume=True`.
    """

    folder: Path
    finished: bool

    @property
    def checkpoint(self) -> Path:
        """The newest backbone, which `load` and every command take.

        Raises:
            FileNotFoundError: There is none any more.
        """
        return newest_weights(self.folder)

    @property
    def metrics(self) -> "list[dict[str, Any]]":
        """What metrics.jsonl holds: a dictionary a log line, and one each time scores are taken on the way."""
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


class Embedded(NamedTuple):
    """Features and whose they are.

    Attributes:
        features (ndarray): (N, F) float32.
        names (ndarray): (N,) texts: of files, the path below the folder.
    """

    features: np.ndarray
    names: np.ndarray


def pretrain(
    data: Optional[PathLike] = None,
    *,
    model: Optional[str] = None,
    epochs: Optional[int] = None,
    config: Optional[PathLike] = None,
    **keys: Any,
) -> Pretrained:
    """Pretrains a backbone with BYOL: train.py's loop, files and checks.

    An interrupt (a notebook's stop button, Ctrl-C) saves after the step it comes in, and the function returns; a second
    one ends the process.

    Args:
        data (str): Folder of the images (`data_dir`). Without `dataset` and `config` it may be any folder of images,
            flat or nested, no labels needed.
        model (str): A MindCV model.
        epochs (int): Epochs of the run (`epoch_size`).
        config (str): A recipe beneath all that is given here.
        **keys: Any other key of a recipe, such as `batch_size=64`; docs/keys.md has them all. Without one,
            `ckpt_save_dir` is `ckpt/` and the name of the folder of the images.

    Returns:
        Pretrained: The run's folder, checkpoint and metrics.

    Raises:
        ValueError, OSError: In one line: the key, what is wrong with it, and what to do.
        NonFiniteLoss, NonFinite, DataError: Nothing is learned any more, or the images are gone.
    """
    named = {"data_dir": ("data", data), "model": ("model", model), "epoch_size": ("epochs", epochs)}
    for key, (name, value) in named.items():
        if value is not None:
            if key in keys:
                raise ValueError(f"{key}: is given twice, also as {name}; drop one of the two")
            keys[key] = value
    _only_byol(keys.get("task", "byol"))
    if config is None and not {"data_dir", "dataset"} & keys.keys():
        raise ValueError("data: name a folder of images, or a recipe as config")
    if config is None and data is not None:
        keys.setdefault("dataset", "folder")
        keys.setdefault("ckpt_save_dir", Path("ckpt") / (Path(data).resolve().name or "images"))
    recipe = recipe_from(keys, config, where="mindbyol.pretrain")
    _only_byol(recipe.task)
    with someone_elses_logging(), runtime.someone_elses_mode():
        setup_logging()
        try:
            finished = Run(recipe, tasks.load(recipe.task)).train()
        finally:
            release(recipe.ckpt_save_dir)
    return Pretrained(Path(recipe.ckpt_save_dir), finished)


def _only_byol(task):
    if task != "byol":
        raise ValueError(f"task: pretrain is for byol; train.py does {task}")


def load(path: PathLike, model: Optional[str] = None, image_size: Optional[int] = None) -> Subject:
    """Loads a backbone from a weights file of any known project, or from the folder of a run.

    Args:
        path (str): The file: mindbyol's, mmselfsup's, torchvision's, lightly's, solo-learn's, DeepMind's, MindCV's; of
            a folder, its newest checkpoint.
        model (str): MindCV's name of the network, for files of others than ResNets that do not say it.
        image_size (int): Side of the images that it will see, in pixels; that of its training by default.

    Returns:
        Subject: `backbone`, a Cell from normalised images (N, 3, H, W) to features (N, F), in evaluation mode, and the
        `card` with all that is known of it.

    Raises:
        FileNotFoundError, ValueError: In one line: there is no such file, it cannot be read, or the size is none.
    """
    if image_size is not None and not 8 <= image_size <= 4096:
        raise ValueError(f"image_size: {image_size} is not 8 to 4096, the side of an image in pixels")
    path = Path(path)
    return open_subject(newest_weights(path) if path.is_dir() else path, model, image_size)


def embed(
    backbone: Union[Subject, PathLike],
    data: Any,
    *,
    crop_pct: float = 0.875,
    background: Optional[str] = None,
    batch_size: int = 64,
    num_parallel_workers: Optional[int] = None,
    device_target: Optional[str] = None,
    progress: bool = True,
) -> Embedded:
    """Features of images, in memory; scripts/embed.py writes those of any number to a file.

    Args:
        backbone (Subject): From `load`, or what `load` takes.
        data (str or Source): A folder, images at any depth, or a source; see `data.create_source`.
        crop_pct (float): Side of the centre crop, of the shorter side.
        background (str): What transparent images are laid on: white, gray, black or `R,G,B`; that of the backbone's
            training by default.
        batch_size (int): Images a forward pass.
        num_parallel_workers (int): Threads that read images; by default as many as suit the machine.
        device_target (str): Ascend, GPU or CPU; by default the one there is.
        progress (bool): Show a progress bar.

    Returns:
        Embedded: `features` (N, F) float32 and `names` (N,). Images that cannot be read are named in a warning and left
        out.

    Raises:
        ValueError, OSError: The folder is not there or holds no images, the weights do not say how images are
            normalised, or the background is no colour.
        DataError: No image can be read, or features are not finite.
    """
    if isinstance(backbone, (str, os.PathLike)):
        backbone = load(backbone)
    if not isinstance(backbone, Subject):
        raise TypeError(f"backbone: takes what mindbyol.load gives, or takes, not {backbone!r}")
    source = create_source("folder", os.fspath(data), split=".") if isinstance(data, (str, os.PathLike)) else data
    if not hasattr(source, "__getitem__") or not hasattr(source, "name"):
        raise TypeError(f"data: takes a folder or a source of images, not {data!r}")
    transform, extractor = prepare(backbone, crop_pct)
    try:
        behind = rgb(colour(background or backbone.card.background or "white"))
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"background: {error}") from error
    settings = LoaderSettings(
        batch_size,
        num_parallel_workers=num_parallel_workers,
        on_bad_image="leave_out",
        background=behind,
    )
    with runtime.someone_elses_mode(), tqdm(total=len(source), unit="img", disable=not progress) as bar:
        runtime.setup(device_target, distribute=False)
        parts = compute_rows(extractor, EvalLoader(source, transform, settings), bar)
        features, names = zip(*parts)
    features = np.concatenate(features)
    if not len(features):
        raise DataError(f"data: none of {source.description} can be read; are they images?")
    return Embedded(features, np.array(sum(names, []), np.str_))
