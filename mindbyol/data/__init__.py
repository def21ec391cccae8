"""From a recipe to its images: sources, and loaders of views and of evaluation images."""

from mindbyol.data import sources
from mindbyol.data.loader import EvalLoader, PretrainLoader
from mindbyol.data.views import EvalTransform, TwoViewTransform

_VIEW_KEYS = (
    "scale",
    "ratio",
    "hflip",
    "color_jitter",
    "color_jitter_prob",
    "grayscale_prob",
    "blur_prob",
    "blur_sigma",
    "solarize_prob",
    "solarize_threshold",
)


def create_source(args, split):
    """The images of a split; see `sources.create_source`. `num_samples` holds for the training split."""
    num_samples = args.num_samples if split == args.train_split else None
    return sources.create_source(args.dataset, args.data_dir, split, args.dataset_download, num_samples)


def create_transform(args):
    """The two views of a recipe; see `views.TwoViewTransform`."""
    keys = {key: getattr(args, key) for key in _VIEW_KEYS}
    return TwoViewTransform(args.image_resize, args.interpolation, args.jitter, **keys)


def create_pretrain_loader(args, source, batches_per_epoch):
    """The view pairs of a whole run; see `loader.PretrainLoader`."""
    return PretrainLoader(
        source,
        create_transform(args),
        args.batch_size,
        args.epoch_size,
        args.seed,
        batches_per_epoch,
        num_parallel_workers=args.num_parallel_workers,
        worker_type=args.worker_type,
        on_bad_image=args.on_bad_image,
        output_dir=args.ckpt_save_dir,
    )


def create_eval_loader(args, source):
    """Every image of a source once, centre-cropped; see `loader.EvalLoader`."""
    return EvalLoader(
        source,
        EvalTransform(args.image_resize, args.crop_pct, args.interpolation),
        args.batch_size,
        num_parallel_workers=args.num_parallel_workers,
        worker_type=args.worker_type,
        on_bad_image=args.on_bad_image,
    )
