"""The data path: sources (what images there are), views (what becomes of an image), loaders (order and batches).

The functions here turn the recipe (the namespace of `config.parse_args`) into these objects.
"""

from mindbyol.data.decode import DataError  # noqa: F401  (what a loader raises in the middle of a run)
from mindbyol.data.loader import EvalLoader, PretrainLoader
from mindbyol.data.sources import create_source
from mindbyol.data.views import PER_VIEW, EvalTransform, TwoViewTransform


def source_from_args(args, split, num_samples=None):
    """Opens a split of the recipe's data set; `num_samples` takes only so many images, evenly spaced."""
    return create_source(args.dataset, args.data_dir, split, args.dataset_download, num_samples)


def two_view_transform_from_args(args):
    """The augmentation of the recipe."""
    per_view = {key: getattr(args, key) for key in PER_VIEW}
    return TwoViewTransform(args.image_resize, args.interpolation, args.jitter, **per_view)


def eval_transform_from_args(args):
    """The evaluation preprocessing of the recipe."""
    return EvalTransform(args.image_resize, args.crop_pct, args.interpolation)


def pretrain_loader_from_args(args, source, rank=0, ranks=1, batches_per_epoch=None, start_batch=0):
    """The loader of a pretraining run; see `PretrainLoader` for the arguments that the recipe does not give."""
    return PretrainLoader(
        source,
        two_view_transform_from_args(args),
        args.batch_size,
        args.epoch_size,
        seed=args.seed,
        batches_per_epoch=batches_per_epoch,
        rank=rank,
        ranks=ranks,
        start_batch=start_batch,
        num_parallel_workers=args.num_parallel_workers,
        worker_type=args.worker_type,
        on_bad_image=args.on_bad_image,
        output_dir=args.ckpt_save_dir,
    )


def eval_loader_from_args(args, source, rank=0, ranks=1):
    """The loader of an evaluation of `source`; see `EvalLoader`."""
    return EvalLoader(
        source,
        eval_transform_from_args(args),
        args.batch_size,
        rank=rank,
        ranks=ranks,
        num_parallel_workers=args.num_parallel_workers,
        worker_type=args.worker_type,
        on_bad_image=args.on_bad_image,
    )
