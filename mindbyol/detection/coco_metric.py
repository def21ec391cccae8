"""COCO's average precision of boxes and masks, by COCO's own code."""

import contextlib
import io

from mindbyol.data.coco_tools import coco_tools
from mindbyol.detection.results import coco_results

# Where each is in what COCO's code calls stats.
_STATS = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}


def coco_scores(found, coco, kinds=("bbox",)):
    """Average precision over IoU 0.5 to 0.95, at 0.5, at 0.75 and by size, and average recall, in percent.

    Args:
        found (Found): Detections of all images of the source.
        coco (CocoFile): The file of annotations, and which of its images are scored.
        kinds (sequence[str]): "bbox" and "segm".

    Returns:
        dict[str, float]: `bbox_ap`, `bbox_ap50`, ..., `segm_ap`, ...; sizes without objects are not in it.

    Raises:
        ValueError: pycocotools is not installed.
    """
    api, evaluation = coco_tools("coco"), coco_tools("cocoeval")
    scores = {}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        truth = api.COCO(str(coco.path))
        for number, one in enumerate(truth.dataset["annotations"], 1):
            one["id"] = number  # COCO's code takes 0 for an object that was not found, and there are files that have it
        truth.createIndex()
        for kind in kinds:
            results = coco_results(found, coco, kind)
            detected = truth.loadRes(results) if results else api.COCO()
            if not results:
                detected.dataset, detected.imgs = {"images": [], "annotations": []}, truth.imgs
                detected.createIndex()
            run = evaluation.COCOeval(truth, detected, kind)
            run.params.imgIds = coco.image_ids.tolist()
            run.params.catIds = list(coco.category_ids)
            run.evaluate()
            run.accumulate()
            run.summarize()
            there = {name: float(run.stats[place]) for name, place in _STATS.items() if run.stats[place] >= 0}
            scores.update({f"{kind}_{name}": 100 * value for name, value in there.items()})
    return scores
