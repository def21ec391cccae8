"""Scores a pretrained backbone: `python validate.py --config configs/byol/....yaml --ckpt_path ...`."""

import json
import logging
import os
from pathlib import Path

from mindbyol.command import one_line_errors, packages

with packages("validate.py"):
    import mindspore as ms

    from config import parse_args
    from mindbyol import runtime
    from mindbyol.backbones import create_backbone
    from mindbyol.byol import Normalize
    from mindbyol.callbacks import setup_logging
    from mindbyol.data import DataError, eval_loader_from_args, source_from_args
    from mindbyol.evaluation.features import FeatureExtractor, extract
    from mindbyol.evaluation.knn import WeightedKNN
    from mindbyol.files import replacing
    from mindbyol.weights.subject import open_subject

logger = logging.getLogger("mindbyol.validate")


def open_splits(args):
    """The bank and the queries of kNN, both with labels."""
    splits = [source_from_args(args, args.train_split, args.num_samples), source_from_args(args, args.val_split)]
    for source in splits:
        if source.labels is None:
            raise ValueError(f"dataset: {source.description}: no labels to score with")
    bank, queries = splits
    if args.train_split == args.val_split:
        logger.warning(f"val_split: {args.val_split} is the bank, too: every image finds itself")
    if bank.class_names != queries.class_names:
        raise ValueError(
            f"dataset: the classes of {bank.description} and of {queries.description} are not the same: "
            "equal numbers would not mean equal classes"
        )
    return splits


def choose_ks(ks, bank_size):
    """The numbers of neighbours that a bank of this size has."""
    ks = sorted(set(ks))
    possible = [k for k in ks if k <= bank_size]
    if not possible:
        raise ValueError(f"knn_k: {min(ks)} neighbours asked for, but the bank has {bank_size} images")
    if len(possible) < len(ks):
        logger.warning(f"knn_k: the bank has {bank_size} images, so only k = {possible} are scored")
    return possible


def create_extractors(args):
    """What is to be scored, by name: `trained`, the checkpoint's backbone; `untrained` and `pixels`, the baselines.

    Stem, padding, stages, mean and std are the checkpoint's, as far as it says them, for `untrained` as well.
    """
    if not args.ckpt_path and not args.baselines:
        raise ValueError("ckpt_path: which checkpoint is to be scored? (--baselines True scores without one)")
    extractors, kind = {}, {key: getattr(args, key) for key in ("stem", "padding", "stages", "mean", "std")}
    if args.ckpt_path:
        subject = open_subject(args.ckpt_path, args.model, args.image_resize)
        logger.info(f"{subject.path}: {subject.found}; backbone sha256 {subject.digest}")
        for key, ours in kind.items():
            theirs = getattr(subject.card, key)
            if theirs not in (None, ours):
                logger.warning(f"{key}: the checkpoint's {theirs} is used, not {ours}")
                kind[key] = theirs
        if subject.card.image_resize not in (None, args.image_resize):
            logger.warning(f"image_resize: trained at {subject.card.image_resize} px, scored at {args.image_resize}")
    normalize = Normalize(kind.pop("mean"), kind.pop("std"))
    if args.ckpt_path:
        extractors["trained"] = FeatureExtractor(subject.backbone, normalize)
    if args.baselines:
        ms.set_seed(args.seed)  # the weights that train.py starts with
        untrained = create_backbone(args.model, image_size=args.image_resize, **kind)
        extractors.update({"untrained": FeatureExtractor(untrained, normalize), "pixels": pixels})
    return extractors


def pixels(images):
    """Raw pixels in the place of features."""
    return images.reshape(len(images), -1)


def check_results(path):
    """Before an hour of scoring: can the scores be written?"""
    if path.exists() and not path.is_file():
        raise OSError(f"results: '{path}' is no regular file: name a new one")
    if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise OSError(f"results: cannot write '{path}': is it a file in a folder that exists and may be written to?")


def report(args, bank, queries, scores):
    """Writes the scores and what they are scores of."""
    content = {
        "model": args.model,
        "ckpt_path": args.ckpt_path,
        "bank": bank.description,
        "split": queries.description,
        "images": len(queries),
        "knn_temperature": args.knn_temperature,
        "scores": scores,
    }
    with replacing(args.results) as beside:
        beside.write_text(json.dumps(content, indent=2) + "\n")


@one_line_errors("validate.py", errors=(DataError, OSError))
def main(argv=None):
    with one_line_errors("validate.py"):
        setup_logging()
        args = parse_args(argv)
        if args.results:
            check_results(Path(args.results))
        world = runtime.setup(args)
        setup_logging(rank=world.rank)
        bank, queries = open_splits(args)
        ks = choose_ks(args.knn_k, len(bank))
        extractors = create_extractors(args)

    gather = runtime.Communicator(world).gather
    scores = {}
    for what, extractor in extractors.items():
        features = [
            extract(extractor, eval_loader_from_args(args, source, world.rank, world.ranks), gather)
            for source in (bank, queries)
        ]
        if world.rank > 0:  # every rank has extracted its share; one scores
            continue
        scores[what] = WeightedKNN(ks, args.knn_temperature).fit(*features[0]).score(*features[1])
        lines = (
            f"k = {k}: top-1 {scores[what][f'knn{k}_top1']:.2f}%, top-5 {scores[what][f'knn{k}_top5']:.2f}%" for k in ks
        )
        logger.info(
            f"kNN on {what} features ({features[0][0].shape[1]} numbers an image), bank: {bank.description}, "
            f"scored on: {queries.description}\n" + "\n".join(lines)
        )
    if args.results and world.rank == 0:
        report(args, bank, queries, scores)
    return scores


if __name__ == "__main__":
    main()
