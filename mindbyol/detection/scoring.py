"""Scores a detector: what it finds in all images, each rank its share; the first rank draws and writes."""

from pathlib import Path

import numpy as np

from mindspore import Tensor

from mindbyol import dense
from mindbyol.checkpoint import NonFinite
from mindbyol.detection import pictures
from mindbyol.detection.average_precision import voc_scores
from mindbyol.detection.coco_metric import coco_scores
from mindbyol.detection.detections import MOST, detect, paste_mask, run_lengths
from mindbyol.detection.results import Found, coco_results, write_coco, write_voc

KINDS = ("bbox", "segm")  # of COCO's results


def score(
    detector, source, transform, tools, ap_mode, pictures_dir=None, pictured=0, detections_dir=None, masks_in=None
):
    """Scores a detector on all images of a source, as VOC does or, where the source is COCO's, as COCO does.

    All ranks must ask.

    Args:
        detector (Callable): Images (1, 3, H, W) and their sizes (1, 2) to boxes and scores; see `FasterRCNN.detect`,
            and with masks `MaskRCNN.detect`.
        source (Source): With objects.
        transform (TestTransform): What the detector gets of an image.
        tools (Tools): The ranks.
        ap_mode (str): See `average_precision.average_precision`.
        pictures_dir (str): Folder for pictures.
        pictured (int): How many of the first images are drawn, by the first rank.
        detections_dir (str): Folder for files of all detections, in VOC's or COCO's form; None for none.
        masks_in (Callable): Boxes, classes and the detector's maps to masks, see `MaskRCNN.masks_in`; None for none.

    Returns:
        dict[str, float]: See `voc_scores` and `coco_scores`.

    Raises:
        NonFinite: Scores are NaN or infinite.
        OSError: Pictures or detections cannot be written.
    """
    found, seen = Found(), set()
    images = tools.one_by_one(source, transform)
    with dense.test_bar(len(images), tools) as bar:
        for index, (image, on_canvas, size, objects) in images:
            bar.update()
            if index in seen:  # it took the place of one that cannot be read
                continue
            seen.add(index)
            boxes, scores, *maps = detector(Tensor(on_canvas[None]), Tensor(size[None]))
            boxes, scores = boxes.asnumpy()[0], scores.asnumpy()[0]
            if not (np.isfinite(scores).all() and np.isfinite(boxes).all()):
                raise NonFinite(
                    f"what is found in {source.name(index)} is NaN or infinite, so there is no score: the weights are "
                    "not good"
                )
            of_image, _ = detect(boxes, scores, size, image.shape[:2])
            if masks_in is not None:
                of_image = _with_masks(of_image, masks_in, maps, size, image.shape[:2])
            found.add(index, of_image)
            if tools.is_first and len(seen) <= pictured:
                drawn = pictures.draw(image, objects, of_image, source.class_names)
                pictures.save(pictures_dir, source.name(index), drawn)
    found = found.of_all_ranks(tools.gather_bytes)
    if detections_dir and tools.is_first:
        _write(Path(detections_dir), found, source, KINDS if masks_in is not None else KINDS[:1])
    if source.coco is not None:
        return coco_scores(found, source.coco, KINDS if masks_in is not None else KINDS[:1])
    targets = (source.target(index) for index in range(len(source)))
    return voc_scores(found.rows, targets, source.class_names, ap_mode)


def _with_masks(found, masks_in, maps, size, shape):
    """The detections of an image of some shape (height, width) with their masks."""
    count = len(found.scores)
    boxes, classes = np.zeros((1, MOST, 4), np.float32), np.zeros((1, MOST), np.int32)
    boxes[0, :count] = found.boxes * (np.float32([size[1], size[0]] * 2) / np.float32([shape[1], shape[0]] * 2))
    classes[0, :count] = found.classes
    masks = masks_in(Tensor(boxes), Tensor(classes), *maps).asnumpy()[0]
    pasted = (paste_mask(mask, box, *shape) for mask, box in zip(masks, found.boxes))
    return found._replace(masks=run_lengths(pasted))


def _write(folder, found, source, kinds):
    if source.coco is None:
        write_voc(folder, "test", found, source)
        return
    for kind in kinds:
        write_coco(folder / f"{kind}.json", coco_results(found, source.coco, kind))
