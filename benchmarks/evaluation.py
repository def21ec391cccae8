"""Speed of evaluations beside what they cannot do without, and beside other libraries.

    python benchmarks/evaluation.py knn                      # kNN beside the product that it contains
    python benchmarks/evaluation.py knn_memory --bank 300000 # memory of kNN beside its bank
    python benchmarks/evaluation.py head --queries 20480      # an epoch of linear evaluation on features in memory
    python benchmarks/evaluation.py features                 # extraction of features beside the bare forward pass
    pip install -r benchmarks/requirements.txt               # for the columns of lightly, faiss and PyTorch

The contenders take turns, so that what else the machine does hits all alike; medians over --rounds after one warm-up.
A part is a function that gives the contenders; `PARTS` names it.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.datasets import load_sample_image  # noqa: E402

import mindspore as ms  # noqa: E402
from mindspore import Tensor  # noqa: E402

from mindbyol.backbones import create_backbone  # noqa: E402
from mindbyol.config import parse_args  # noqa: E402
from mindbyol.data import LoaderSettings, eval_loader_from_args  # noqa: E402
from mindbyol.data.rows import TrainRows  # noqa: E402
from mindbyol.data.sources import create_source  # noqa: E402
from mindbyol.evaluation.features import FeatureExtractor, extract, in_memory  # noqa: E402
from mindbyol.evaluation.knn import WeightedKNN  # noqa: E402
from mindbyol.evaluation.neighbours import nearest  # noqa: E402
from mindbyol.linear import create_network  # noqa: E402
from mindbyol.training.feeding import Feed  # noqa: E402
from mindbyol.training.optimizer import create_optimizer  # noqa: E402
from mindbyol.training.plan import Plan  # noqa: E402
from mindbyol.training.step import TrainOneStep  # noqa: E402

CORES = len(os.sched_getaffinity(0))
BLOCK, K, CLASSES, TEMPERATURE = 256, 200, 1000, 0.07


def unit_rows(count, width, seed):
    """Random directions, made in blocks so that the bank is there once."""
    rng = np.random.default_rng(seed)
    rows = np.empty((count, width), np.float32)
    for start in range(0, count, 8192):
        block = rng.standard_normal(rows[start : start + 8192].shape, np.float32)
        rows[start : start + 8192] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return rows


def knn(arguments):
    """kNN at k = 10, 20, 100 and 200 with its votes, and what others do with the same features."""
    bank, queries = (unit_rows(n, arguments.width, n) for n in (arguments.bank, arguments.queries))
    labels, wanted = (np.random.default_rng(n).integers(0, CLASSES, n) for n in (arguments.bank, arguments.queries))
    blocks = [slice(start, start + BLOCK) for start in range(0, len(queries), BLOCK)]

    def product():
        out = np.empty((BLOCK, len(bank)), np.float32)
        for rows in blocks:
            np.matmul(queries[rows], bank.T, out=out[: len(queries[rows])])

    contenders = {
        "mindbyol": lambda: WeightedKNN((10, 20, 100, K), TEMPERATURE).fit(bank, labels).score(queries, wanted),
        "plain product": product,
    }
    ours = nearest(bank, queries, K)[1]

    def same(theirs):
        shared = np.mean([len(np.intersect1d(*pair)) for pair in zip(ours, theirs)]) / K
        return f"{100 * shared:.3f} % of the neighbours are ours"

    try:
        import torch
        from lightly.utils.benchmarking.knn import knn_predict

        torch.set_num_threads(CORES)
        columns, classes = torch.from_numpy(bank).T, torch.from_numpy(labels)
        contenders[f"lightly {K}"] = lambda: [
            knn_predict(torch.from_numpy(queries[rows]), columns, classes, CLASSES, K, TEMPERATURE) for rows in blocks
        ]
    except ImportError as error:
        print(f"no column of lightly: {error}")
    try:
        import faiss

        index = faiss.IndexFlatIP(arguments.width)
        index.add(bank)
        contenders[f"faiss {K}, no votes"] = lambda: index.search(queries, K)
        print(f"faiss {faiss.__version__}: {same(index.search(queries, K)[1])}")
    except ImportError as error:
        print(f"no column of faiss: {error}")
    print(f"{len(queries)} queries, a bank of {len(bank)} x {arguments.width}")
    return contenders


def knn_memory(arguments):
    """Peak memory of the process, with the bank and after the search."""
    before = peak()
    bank, queries = (unit_rows(n, arguments.width, n) for n in (arguments.bank, arguments.queries))
    with_bank = peak()
    started = time.perf_counter()
    nearest(bank, queries, K)
    elapsed = time.perf_counter() - started
    print(
        f"bank {len(bank)} x {arguments.width}: {bank.nbytes / 1e9:.2f} GB, queries {len(queries)}: "
        f"{queries.nbytes / 1e9:.2f} GB; peak before {before:.2f} GB, with both {with_bank:.2f} GB, "
        f"after the search {peak():.2f} GB; {elapsed:.0f} s"
    )
    return {}


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def features(arguments):
    """Extraction from JPEG files of 500 x 375, with the loader, beside the same batches ready on the device."""
    folder = Path(tempfile.mkdtemp())
    flags = f"--dataset folder --data_dir {folder} --model {arguments.model} --image_resize {arguments.image_resize} "
    recipe = parse_args([*flags.split(), "--batch_size", str(arguments.batch_size)], "validate")
    photo = cv2.resize(load_sample_image("flower.jpg"), (640, 427))[:, :, ::-1]
    for number in range(arguments.batches * arguments.batch_size):
        top, left = number % 52, number % 140
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), photo[top : top + 375, left : left + 500])
    source = create_source("folder", str(folder))
    backbone = create_backbone(recipe.model, recipe.stem, recipe.padding, recipe.image_resize).set_train(False)
    extractor = FeatureExtractor(backbone, recipe.mean, recipe.std)
    ready = [Tensor(batch.arrays["image"]) for batch in eval_loader_from_args(recipe, source)]

    def mindbyol():
        loader = eval_loader_from_args(recipe, source)
        in_memory(len(source), extract(extractor, loader, lambda rows: rows[None]))

    def forward():
        for images in ready:
            extractor(images).asnumpy()

    print(f"{recipe.model}, {recipe.image_resize} px, {len(ready)} batches of {recipe.batch_size}")
    return {"mindbyol": mindbyol, "bare forward": forward}


def head(arguments):
    """An epoch of linear evaluation on features in memory: Nesterov SGD, 256 rows a step, 1000 classes."""
    rows, size = arguments.queries // 256 * 256, 256
    features, labels = unit_rows(rows, 2048, 0), np.random.default_rng(0).integers(0, CLASSES, rows).astype(np.int32)
    flags = "--task linear --opt sgd --use_nesterov True --lr 0.1 --cache_features True --epoch_size 1"
    recipe = parse_args([*flags.split(), "--batch_size", str(size)])
    plan = Plan(recipe, rows)
    network = create_network(create_backbone("resnet50"), None, CLASSES, [""], cached=True).set_train()
    step = TrainOneStep(network, create_optimizer(recipe, network, plan), None)

    def mindbyol():
        feed = Feed(TrainRows(features, labels, LoaderSettings(size), 1, plan.steps_per_epoch), lambda batch: batch)
        for batch in feed:
            loss, _ = step(*batch)
        loss.asnumpy()
        feed.close()

    contenders = {"mindbyol": mindbyol}
    try:
        import torch

        torch.set_num_threads(CORES)
        linear = torch.nn.Linear(2048, CLASSES)
        optimizer = torch.optim.SGD(linear.parameters(), 0.1, momentum=0.9, nesterov=True)
        data, wanted = torch.from_numpy(features), torch.from_numpy(labels).long()

        def pytorch():
            order = torch.randperm(rows)
            for start in range(0, rows, size):
                chosen = order[start : start + size]
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(linear(data[chosen]), wanted[chosen]).backward()
                optimizer.step()

        contenders["PyTorch"] = pytorch
    except ImportError as error:
        print(f"no column of PyTorch: {error}")
    print(f"{rows} rows of 2048")
    return contenders


PARTS = {"knn": knn, "knn_memory": knn_memory, "features": features, "head": head}


def take_turns(contenders, rounds):
    """Prints the median time of each contender, and of mindbyol as a share of it."""
    times = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if number:  # the first warms up
                times[name].append(time.perf_counter() - started)
    for name, values in times.items():
        ratio = statistics.median(their / ours for their, ours in zip(values, times["mindbyol"]))
        spread = f"{min(values):.2f}-{max(values):.2f}"
        print(f"  {name:<20}{statistics.median(values):8.2f} s ({spread}); mindbyol has {ratio:.2f} of its speed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bank", type=int, default=100_000, help="images in the bank of kNN")
    parser.add_argument("--queries", type=int, default=2048)
    parser.add_argument("--width", type=int, default=2048, help="of features")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--image_resize", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--batches", type=int, default=4)
    arguments = parser.parse_args()
    ms.set_context(mode=ms.GRAPH_MODE)
    print(f"{CORES} cores, MindSpore {ms.__version__}, numpy {np.__version__}; medians of {arguments.rounds} in turns")
    for part in arguments.parts:
        print(part)
        take_turns(PARTS[part](arguments), arguments.rounds)


if __name__ == "__main__":
    main()
