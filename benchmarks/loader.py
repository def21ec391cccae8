"""Images per second of this project's loader and of its peers: two 224 px BYOL views of 500x375 JPEG files.

    python benchmarks/loader.py            # all contenders that are installed, in turns
    python benchmarks/loader.py --profile  # where the time of an image goes, one worker
    python benchmarks/loader.py --feeding  # from a loader's arrays to tensors: what the step waits for

All read the same files with the same number of workers, each in a process of its own, round after round; the table has
the median of the rounds. The peers are optional: benchmarks/requirements.txt.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BATCH = 64


def make_jpegs(folder, count=512):
    """Writes crops of scikit-learn's two photographs, 500x375, quality 90, some flipped, into one class folder."""
    import cv2
    import numpy as np
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    (folder / "all").mkdir(parents=True)
    for number in range(count):
        photo = photos[number % 2]
        height, width = (int(side * rng.uniform(0.75, 1)) for side in photo.shape[:2])
        top, left = rng.integers(0, photo.shape[0] - height + 1), rng.integers(0, photo.shape[1] - width + 1)
        crop = cv2.resize(photo[top : top + height, left : left + width], (500, 375), interpolation=cv2.INTER_AREA)
        crop = crop[:, :: rng.choice([-1, 1]), ::-1]
        assert cv2.imwrite(str(folder / "all" / f"{number:04d}.jpg"), crop, [cv2.IMWRITE_JPEG_QUALITY, 90])


def mindbyol_loader(folder, workers, worker_type):
    from mindbyol.data import LoaderSettings, PretrainLoader, TwoViewTransform, create_source

    settings = LoaderSettings(BATCH, num_parallel_workers=workers, worker_type=worker_type)
    return PretrainLoader(create_source("folder", folder), TwoViewTransform(), settings, epochs=1000)


def mindbyol_threads(folder, workers):
    return mindbyol_loader(folder, workers, "thread")


def mindbyol_processes(folder, workers):
    return mindbyol_loader(folder, workers, "process")


def lightly(folder, workers):
    import torch
    from lightly.data import LightlyDataset
    from lightly.transforms import BYOLTransform

    dataset = LightlyDataset(str(folder), transform=BYOLTransform())
    while True:
        yield from torch.utils.data.DataLoader(
            dataset, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=False
        )


def mindspore(folder, workers):
    import mindspore.dataset as ds
    from mindspore.dataset import transforms, vision

    ds.config.set_num_parallel_workers(workers)

    def operations(blur, solarize):
        blurs = [vision.GaussianBlur(2 * math.ceil(3 * sigma) + 1, sigma) for sigma in (0.3, 0.7, 1.0, 1.4, 1.8)]
        gray = [vision.ConvertColor(vision.ConvertMode.COLOR_RGB2GRAY)]
        gray += [vision.ConvertColor(vision.ConvertMode.COLOR_GRAY2RGB)]
        return [
            vision.RandomCropDecodeResize(224, (0.08, 1.0), (3 / 4, 4 / 3), vision.Inter.BICUBIC),
            vision.RandomHorizontalFlip(0.5),
            transforms.RandomApply([vision.RandomColorAdjust(0.4, 0.4, 0.2, 0.1)], 0.8),
            transforms.RandomApply(gray, 0.2),
            transforms.RandomApply([transforms.RandomChoice(blurs)], blur),
            transforms.RandomApply([vision.RandomSolarize((128, 255))], solarize),
            vision.HWC2CHW(),
        ]

    def one_view(name, blur, solarize):
        images = ds.ImageFolderDataset(str(folder), num_parallel_workers=workers, shuffle=False, decode=False)
        images = images.project(["image"]).rename("image", name)
        return images.map(operations(blur, solarize), name, num_parallel_workers=workers)

    both = ds.zip((one_view("view_1", 1.0, 0.0), one_view("view_2", 0.1, 0.2))).batch(BATCH, drop_remainder=True)
    yield from both.repeat(1000).create_tuple_iterator(num_epochs=1, output_numpy=True)


def dali(folder, workers):
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=BATCH, num_threads=workers, device_id=None, enable_conditionals=True)
    def pipeline():
        files, _ = fn.readers.file(file_root=str(folder), random_shuffle=True)
        image = fn.decoders.image(files, device="cpu", output_type=types.RGB)
        views = []
        for blur, solarize in ((1.0, 0.0), (0.1, 0.2)):
            view = fn.random_resized_crop(
                image,
                size=(224, 224),
                random_area=(0.08, 1.0),
                random_aspect_ratio=(3 / 4, 4 / 3),
                interp_type=types.INTERP_CUBIC,
                antialias=False,
            )
            if fn.random.coin_flip(probability=0.8, dtype=types.BOOL):
                view = fn.color_twist(
                    view,
                    brightness=fn.random.uniform(range=(0.6, 1.4)),
                    contrast=fn.random.uniform(range=(0.6, 1.4)),
                    saturation=fn.random.uniform(range=(0.8, 1.2)),
                    hue=fn.random.uniform(range=(-36.0, 36.0)),
                )
            if fn.random.coin_flip(probability=0.2, dtype=types.BOOL):
                view = fn.hsv(view, saturation=0.0)
            if fn.random.coin_flip(probability=blur, dtype=types.BOOL):
                view = fn.gaussian_blur(view, sigma=fn.random.uniform(range=(0.1, 2.0)))  # Taps to 3 sigma, as ours.
            if fn.random.coin_flip(probability=solarize, dtype=types.BOOL):
                inverted = types.Constant(255).uint8() - view
                view = fn.cast(view * (view < 128) + inverted * (view >= 128), dtype=types.UINT8)
            views.append(
                fn.crop_mirror_normalize(
                    view, mirror=fn.random.coin_flip(), dtype=types.UINT8, output_layout="CHW", mean=[0.0], std=[1.0]
                )
            )
        return tuple(views)

    built = pipeline()
    built.build()
    while True:
        yield built.run()


CONTENDERS = {
    "mindbyol, threads": mindbyol_threads,
    "mindbyol, processes": mindbyol_processes,
    "lightly BYOLTransform, PyTorch DataLoader": lightly,
    "mindspore.dataset C++ operations": mindspore,
    "NVIDIA DALI on the CPU": dali,
}


def cpu_seconds():
    """CPU time of this process and of all that it started, from Linux's /proc."""
    parent, spent = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # It has just ended.
            parent[int(entry)], spent[int(entry)] = int(fields[1]), sum(map(int, fields[11:15]))
    family = {os.getpid()}
    while more := {process for process in parent if parent[process] in family} - family:
        family |= more
    return sum(spent[process] for process in family) / os.sysconf("SC_CLK_TCK")


def measure(name, folder, workers, seconds):
    """Images per second, and CPU seconds per image, once the first batches are there."""
    batches = iter(CONTENDERS[name](folder, workers))
    for _ in range(5):
        next(batches)
    count, started, cpu = 0, time.perf_counter(), cpu_seconds()
    while time.perf_counter() - started < seconds:
        next(batches)
        count += BATCH
    return count / (time.perf_counter() - started), (cpu_seconds() - cpu) / count


def profile(folder, images=300):
    """Prints the mean time of each stage of an image, on one core."""
    from mindbyol.data import TwoViewTransform, create_source, views
    from mindbyol.data.decode import decode

    spent = {}

    def timed(function, stage):
        def call(*arguments, **keywords):
            started = time.perf_counter()
            result = function(*arguments, **keywords)
            spent[stage] = spent.get(stage, 0) + time.perf_counter() - started
            return result

        return call

    for name in ("resize", "to_luma", "blur", "solarize", "draw"):
        setattr(views.augmentation, name, timed(getattr(views.augmentation, name), name))
    for name, function in views.JITTER_OPERATIONS["deepmind"].items():
        stage = name if name in ("brightness", "contrast") else "saturation, hue"
        views.JITTER_OPERATIONS["deepmind"][name] = timed(function, stage)
    source, transform = create_source("folder", folder), TwoViewTransform()
    read, decode = timed(source.__getitem__, "read"), timed(decode, "decode")
    started = time.perf_counter()
    for index in range(images):
        transform(decode(read(index)), 0, 0, index)
    total = time.perf_counter() - started
    spent["flip, split, drawing up the list of operations"] = total - sum(spent.values())
    for stage, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{seconds / images * 1e3:6.2f} ms  {seconds / total:4.0%}  {stage}")
    print(f"{total / images * 1e3:6.2f} ms  an image: two views of 224 px")


def feeding(rounds=20, batch=128):
    """Prints the median time from arrays to tensors, two views a batch, in turns: copied, shared, by a feed."""
    import numpy as np

    import mindspore as ms

    from mindbyol.training.feeding import Feed

    def views():
        return tuple(np.full((batch, 3, 224, 224), view, np.uint8) for view in range(2))

    def batches():
        while True:
            yield views()

    feed = Feed(batches(), lambda arrays: arrays)
    fed = iter(feed)
    arrays = views()
    contenders = {
        "Tensor(array), a copy": lambda: [ms.Tensor(array) for array in arrays],
        "from_numpy(array), no copy": lambda: [ms.from_numpy(array) for array in arrays],
        "next of a Feed, the step at work before": lambda: next(fed),
    }
    times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, take in contenders.items():
            time.sleep(0.2)  # the step, in which the feed's thread makes the next batch ready
            started = time.perf_counter()
            take()
            times[name].append(time.perf_counter() - started)
    feed.close()
    print(f"two views of {batch} images of 224 px, {arrays[0].nbytes / 1e6:.1f} MB each; median of {rounds} in turns")
    for name, values in times.items():
        print(f"{statistics.median(values) * 1e3:8.3f} ms  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="threads or processes (default: the cores)")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="where the time of an image goes")
    parser.add_argument("--feeding", action="store_true", help="time from a loader's arrays to tensors")
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args.folder, args.workers, args.seconds)), flush=True)
        os._exit(0)  # Not every contender lets its workers go.
    if args.feeding:
        feeding()
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "jpegs"
        make_jpegs(folder)
        if args.profile:
            profile(folder)
            return
        results = {name: [] for name in CONTENDERS}
        for number in range(args.rounds):
            for name in CONTENDERS:
                command = [sys.executable, __file__, "--only", name, "--folder", str(folder)]
                command += ["--workers", str(args.workers), "--seconds", str(args.seconds)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
                    print(f"round {number + 1}: {name}: left out ({reason})", flush=True)
                    continue
                results[name].append(json.loads(done.stdout.splitlines()[-1]))
                speed, cpu = results[name][-1]
                print(f"round {number + 1}: {name}: {speed:.0f} img/s, {cpu * 1e3:.2f} ms of CPU an image", flush=True)
    report(results, args, cores)


def report(results, args, cores):
    """Prints the medians; the ratios are medians of the ratios within a round."""
    print(f"\n{args.workers} workers, {cores} cores, {args.rounds} rounds of {args.seconds:.0f} s in turns\n")
    print("| loader | images/s | ms of CPU an image | speed of mindbyol's threads is | their CPU time is |")
    print("|---|---|---|---|---|")
    first = results["mindbyol, threads"]
    for name, rounds in results.items():
        if rounds:
            speed, cpu = (statistics.median(column) for column in zip(*rounds))
            faster = statistics.median(ours[0] / theirs[0] for ours, theirs in zip(first, rounds))
            cheaper = statistics.median(ours[1] / theirs[1] for ours, theirs in zip(first, rounds))
            print(f"| {name} | {speed:.0f} | {cpu * 1e3:.2f} | {faster:.2f}x | {cheaper:.2f}x |")


if __name__ == "__main__":
    main()
