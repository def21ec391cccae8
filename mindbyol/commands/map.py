"""Draws what a backbone makes of images: a map of their features, and some of them with their nearest neighbours.

    python scripts/map.py ckpt/digits                                        a run: its newest backbone, its recipe
    python scripts/map.py byol_r50.ckpt --data_dir photos -o pictures        any weights, any folder of images
    python scripts/map.py byol_r50.ckpt --config configs/knn/knn_resnet50_in1k.yaml --data_dir imagenet -o pictures

Writes map.png, whose colours are classes or else folders, and neighbours.png. All other flags are validate.py's.
"""

import argparse
import dataclasses
from pathlib import Path

from mindbyol.command import Parser, one_line_errors, packages

with packages():
    import numpy as np

    from mindbyol import runtime
    from mindbyol.commands.of_checkpoint import backbone_of, output_folder, recipe_flags
    from mindbyol.config import parse_args
    from mindbyol.config.values import number, rgb
    from mindbyol.data import EvalLoader, eval_transform_from_args, loader_settings_from_args, source_from_args
    from mindbyol.data.names import printable
    from mindbyol.data.sources import evenly_spaced
    from mindbyol.evaluation.features import FeatureExtractor, compute
    from mindbyol.evaluation.neighbours import nearest
    from mindbyol.evaluation.subjects import open_trained
    from mindbyol.reports import drawing, maps, sheets
    from mindbyol.reports.shown_images import tile_of
    from mindbyol.terminal import setup_logging


@one_line_errors()
def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="weights file of any known project, or the folder of a run")
    parser.add_argument(
        "-o", "--output", help="folder for map.png and neighbours.png (default: that of the checkpoint)"
    )
    parser.add_argument("--split", help="which images (default: val_split; of a folder without labels, all)")
    parser.add_argument("--images", type=number(int, 4, 20000), default=2000, help="at most so many, evenly spaced")
    parser.add_argument("--method", choices=maps.METHODS, default="tsne", help="how the map is made (default: tsne)")
    parser.add_argument("--queries", type=number(int, 1, 30), default=8, help="rows of the sheet (default: 8)")
    parser.add_argument("--neighbours", type=number(int, 1, 12), default=7, help="in each row (default: 7)")
    own, flags = parser.parse_known_args(argv)
    setup_logging()
    file = backbone_of(own.checkpoint)
    recipe = parse_args(recipe_flags(file, flags), "validate")
    folder = output_folder(own.output, file)
    outputs = [drawing.check_png(folder / name) for name in ("map.png", "neighbours.png")]
    runtime.setup_for(recipe)
    split = own.split or ("train" if recipe.dataset == "folder" else recipe.val_split)
    source = source_from_args(recipe, split)
    if len(source) > own.images:
        source = evenly_spaced(source, own.images)
    features, indices = features_of(recipe, open_trained(recipe, file), source)
    groups, names = groups_of(source, indices)
    title = f"{printable(Path(file).name)}\n{source.description}"

    points, axes_are = maps.project(features, own.method, recipe.seed)
    drawing.save(maps.draw(points, axes_are, groups, names, title), outputs[0], photographs=True)
    blocks = blocks_of(recipe, source, indices, features, own.queries, own.neighbours)
    drawing.save(sheets.draw_neighbours(blocks, title), outputs[1], photographs=True)
    print(f"{printable(outputs[0])}, {printable(outputs[1])}: {len(indices)} of {source.description}")


def features_of(recipe, subject, source):
    """Features of the images that can be read.

    Args:
        recipe (Recipe): Of a task that scores.
        subject (Scored): What gives them.
        source (Source): The images.

    Returns:
        tuple[ndarray, ndarray]: (N, F) float32, and the indices (N,) of the images.

    Raises:
        ValueError: Fewer than four images can be read, or features are not finite.
    """
    bad = "stop" if recipe.on_bad_image == "stop" else "leave_out"
    settings = dataclasses.replace(loader_settings_from_args(recipe), on_bad_image=bad)
    loader = EvalLoader(source, eval_transform_from_args(recipe), settings)
    extractor = FeatureExtractor(subject.backbone, subject.mean, subject.std)
    parts = [(rows[counts], indices[counts]) for rows, indices, counts in compute(extractor, loader)]
    features, indices = (np.concatenate(part) for part in zip(*parts))
    if len(features) < 4:
        raise ValueError(
            f"data_dir: a map needs 4 images that can be read, and {source.description} has {len(features)}"
        )
    if not np.isfinite(features).all():
        raise ValueError("ckpt_path: features are NaN or infinite: the weights are not those of a healthy run")
    return features, indices


def groups_of(source, indices):
    """What the images are coloured by: their class, or the folder that they lie in.

    Returns:
        tuple[ndarray or None, list[str]]: The number of each image's group (N,), and the names of the groups.
    """
    if source.labels is not None and source.labels.ndim == 1:
        return np.asarray(source.labels)[indices], [printable(name) for name in source.class_names]
    folders = [source.name(int(index)).rpartition("/")[0].partition("/")[0] for index in indices]
    names, groups = np.unique(folders, return_inverse=True)
    if source.labels is not None or len(names) < 2:
        return None, []
    return groups, [name or "(no folder)" for name in names.tolist()]


def blocks_of(recipe, source, indices, features, queries, neighbours):
    """Evenly spaced images, each with those whose features are most similar to its own."""
    transform, behind = eval_transform_from_args(recipe), rgb(recipe.background)
    chosen = np.arange(min(queries, len(indices))) * len(indices) // min(queries, len(indices))
    k = min(neighbours + 1, len(indices))
    similarity, index = nearest(features, features[chosen], k)
    classes = source.labels is not None and source.labels.ndim == 1
    blocks = []
    for query, near, alike in zip(chosen, index, similarity):
        others = [(n, s) for n, s in zip(near, alike) if n != query][:neighbours]
        label = source.labels[indices[query]] if classes else None
        tiles = [tile_of(source, indices[n], transform, behind, label, s) for n, s in others]
        blocks.append(sheets.Block(tile_of(source, indices[query], transform, behind), {"": tiles}))
    return blocks
