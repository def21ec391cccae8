"""The data path: sources (what images there are), views (what becomes of an image), loaders (order and batches).

The functions here turn the recipe (see `config.parse_args`) into these objects.
"""

from mindbyol.config.values import rgb
from mindbyol.data.decode import DataError  # noqa: F401  (what a loader raises in the middle of a run)
from mindbyol.data.loader import EvalLoader, LoaderSettings, PretrainLoader
from mindbyol.data.one_view import OneViewTransform
from mindbyol.data.sources import create_source
from mindbyol.data.views import PER_VIEW, EvalTransform, TwoViewTransform

LABELLED_FOLDERS = "put the images of each class into a folder, and set dataset: imagenet"


def source_from_args(args, split, num_samples=None):
    """Opens a split of the recipe's data set; `num_samples` takes only so many images, evenly spaced."""
    return create_source(args.dataset, args.data_dir, split, args.dataset_download, num_samples)


def find_labelled_splits(args):
    """The splits of the recipe's data set that a backbone can be scored with: with labels, one class an image.

    Args:
        args (Recipe): With a `train_split` and a `val_split`, which are taken if they can be.

    Returns:
        dict[str, str]: Both keys and their values; empty where there are no such splits.
    """
    for splits in ((args.train_split, args.val_split), ("train", "val")):
        try:
            sources = [source_from_args(args, split) for split in splits]
        except (OSError, ValueError):  # there is no such split
            continue
        if all(source.labels is not None and source.labels.ndim == 1 for source in sources):
            return dict(zip(("train_split", "val_split"), splits))
    return {}


def two_view_transform_from_args(args):
    """The augmentation of the recipe."""
    per_view = {key: getattr(args, key) for key in PER_VIEW}
    return TwoViewTransform(args.image_resize, args.interpolation, args.jitter, **per_view)


def one_view_transform_from_args(args):
    """The augmentation of a recipe that trains with labels."""
    of_view = {key: getattr(args, key) for key in ("scale", "ratio", "hflip", "color_jitter", "color_jitter_prob")}
    return OneViewTransform(
        args.image_resize, args.interpolation, args.jitter, args.train_crop, args.crop_pct, args.lighting, **of_view
    )


def eval_transform_from_args(args):
    """The evaluation preprocessing of the recipe."""
    return EvalTransform(args.image_resize, args.crop_pct, args.interpolation)


def pretrain_loader_from_args(args, source, rank=0, ranks=1, batches_per_epoch=None, start_batch=0):
    """The loader of a pretraining run; see `PretrainLoader` for the arguments that the recipe does not give."""
    transform = two_view_transform_from_args(args)
    return train_loader_from_args(args, source, transform, rank, ranks, batches_per_epoch, start_batch)


def train_loader_from_args(
    args, source, transform, rank=0, ranks=1, batches_per_epoch=None, start_batch=0, end_batch=None
):
    """The loader of a run that trains on what `transform` makes of images; see `PretrainLoader`."""
    settings = loader_settings_from_args(args, rank, ranks, args.ckpt_save_dir)
    return PretrainLoader(source, transform, settings, args.epoch_size, batches_per_epoch, start_batch, end_batch)


def eval_loader_from_args(args, source, rank=0, ranks=1, transform=None):
    """The loader of an evaluation of `source`; see `EvalLoader`. By default, `transform` is the recipe's."""
    return EvalLoader(source, transform or eval_transform_from_args(args), loader_settings_from_args(args, rank, ranks))


def loader_settings_from_args(args, rank=0, ranks=1, output_dir=None):
    """Batch size, workers, and what is done with bad and transparent images, as the recipe has them."""
    return LoaderSettings(
        args.batch_size,
        args.seed,
        rank,
        ranks,
        args.num_parallel_workers,
        args.worker_type,
        args.on_bad_image,
        output_dir,
        rgb(args.background),
    )
