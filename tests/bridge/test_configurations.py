"""The configurations for MMDetection, MMSegmentation and Detectron2 say what the protocols say.

The numbers are those of mmselfsup's 0.x configurations, whose scores are published, and of MoCo's for Detectron2.
"""

import ast
import re
import runpy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = ROOT / "scripts" / "bridge"
CONFIGS = BRIDGE / "configs"
MM = sorted(CONFIGS.glob("mm*/*.py"))
D2 = sorted(CONFIGS.glob("detectron2/*_*x.yaml")) + sorted(CONFIGS.glob("detectron2/*24k.yaml"))
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
SYNC = {"type": "SyncBN", "requires_grad": True}

C4, FPN, CITY, VOC12 = (
    "faster_rcnn_r50_c4_24k_voc0712",
    "mask_rcnn_r50_fpn_1x_coco",
    "fcn_r50_d8_769x769_40k_cityscapes",
    "fcn_r50_d8_512x512_20k_voc12aug",
)
DETECTION = {
    "optim_wrapper.optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4},
    "optim_wrapper.clip_grad": None,
    "train_dataloader.batch_size": 2,
    "train_dataloader.batch_sampler.type": "AspectRatioBatchSampler",
    "model.train_cfg.rpn.sampler.num": 256,
    "model.train_cfg.rpn.sampler.pos_fraction": 0.5,
    "model.train_cfg.rpn.assigner.pos_iou_thr": 0.7,
    "model.train_cfg.rpn.assigner.neg_iou_thr": 0.3,
    "model.train_cfg.rpn.assigner.min_pos_iou": 0.3,
    "model.train_cfg.rpn.assigner.ignore_iof_thr": -1,
    "model.train_cfg.rcnn.assigner.pos_iou_thr": 0.5,
    "model.train_cfg.rcnn.assigner.neg_iou_thr": 0.5,
    "model.train_cfg.rcnn.sampler.num": 512,
    "model.train_cfg.rcnn.sampler.pos_fraction": 0.25,
    "model.train_cfg.rcnn.sampler.add_gt_as_proposals": True,
    "model.test_cfg.rcnn.score_thr": 0.05,
    "model.test_cfg.rcnn.nms.iou_threshold": 0.5,
    "model.test_cfg.rcnn.max_per_img": 100,
    "model.rpn_head.anchor_generator.ratios": [0.5, 1.0, 2.0],
    "model.rpn_head.bbox_coder.target_stds": [1.0] * 4,
    "model.rpn_head.loss_bbox.type": "L1Loss",
    "model.roi_head.bbox_head.bbox_coder.target_stds": [0.1, 0.1, 0.2, 0.2],
    "model.roi_head.bbox_head.loss_bbox.type": "L1Loss",
    "model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio": 0,
    "model.data_preprocessor.pad_size_divisor": 32,
    "test_pipeline.1.scale": (1333, 800),
    "train_pipeline.3.prob": 0.5,
}
SEGMENTATION = {
    "model.backbone.strides": (1, 2, 1, 1),
    "model.backbone.dilations": (1, 1, 2, 4),
    "model.backbone.contract_dilation": True,
    "optim_wrapper.optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4},
    "optim_wrapper.clip_grad": None,
    "model.decode_head.in_channels": 2048,
    "model.decode_head.channels": 512,
    "model.decode_head.num_convs": 2,
    "model.decode_head.concat_input": True,
    "model.decode_head.dropout_ratio": 0.1,
    "model.decode_head.loss_decode.loss_weight": 1.0,
    "model.decode_head.loss_decode.avg_non_ignore": False,
    "model.auxiliary_head.in_channels": 1024,
    "model.auxiliary_head.in_index": 2,
    "model.auxiliary_head.channels": 256,
    "model.auxiliary_head.num_convs": 1,
    "model.auxiliary_head.loss_decode.loss_weight": 0.4,
    "model.auxiliary_head.loss_decode.avg_non_ignore": False,
    "model.data_preprocessor.pad_val": 0,
    "model.data_preprocessor.seg_pad_val": 255,
    "train_pipeline.2.ratio_range": (0.5, 2.0),
    "train_pipeline.3.cat_max_ratio": 0.75,
    "train_pipeline.4.prob": 0.5,
}
FACTS = {
    C4: {
        **DETECTION,
        "model.backbone.num_stages": 3,
        "model.backbone.out_indices": (2,),
        "model.roi_head.shared_head.type": "ResLayerExtraNorm",
        "model.roi_head.shared_head.stage": 3,
        "model.roi_head.shared_head.stride": 2,
        "model.roi_head.shared_head.norm_cfg": SYNC,
        "model.roi_head.shared_head.norm_eval": False,
        "model.roi_head.shared_head.style": "pytorch",
        "model.rpn_head.anchor_generator.scales": [2, 4, 8, 16, 32],
        "model.rpn_head.anchor_generator.strides": [16],
        "model.rpn_head.anchor_generator.center_offset": 0.0,
        "model.train_cfg.rpn.allowed_border": 0,
        "model.train_cfg.rpn_proposal.nms_pre": 12000,
        "model.train_cfg.rpn_proposal.max_per_img": 2000,
        "model.train_cfg.rcnn.assigner.match_low_quality": False,
        "model.test_cfg.rpn.nms_pre": 6000,
        "model.test_cfg.rpn.max_per_img": 1000,
        "model.roi_head.bbox_roi_extractor.roi_layer.output_size": 14,
        "model.roi_head.bbox_head.num_classes": 20,
        "train_pipeline.2.scales": [(1333, short) for short in range(480, 801, 32)],
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 24000, "val_interval": 2000},
        "param_scheduler.0.start_factor": 0.001,
        "param_scheduler.0.end": 101,
        "param_scheduler.1.milestones": [18000, 22000],
        "param_scheduler.1.by_epoch": False,
        "val_evaluator.eval_mode": "11points",
        "val_dataloader.dataset.ann_file": "VOC2007/ImageSets/Main/test.txt",
        "train_dataloader.dataset.datasets.0.filter_cfg": {"filter_empty_gt": True, "min_size": 32},
        "train_dataloader.dataset.datasets.1.filter_cfg": {"filter_empty_gt": True, "min_size": 32},
    },
    FPN: {
        **DETECTION,
        "model.backbone.num_stages": 4,
        "model.neck.norm_cfg": SYNC,
        "model.neck.act_cfg": None,
        "model.roi_head.bbox_head.type": "Shared4Conv1FCBBoxHead",
        "model.roi_head.bbox_head.norm_cfg": SYNC,
        "model.roi_head.mask_head.norm_cfg": SYNC,
        "model.rpn_head.anchor_generator.scales": [8],
        "model.rpn_head.anchor_generator.strides": [4, 8, 16, 32, 64],
        "model.train_cfg.rpn.allowed_border": -1,
        "model.train_cfg.rpn_proposal.nms_pre": 2000,
        "model.train_cfg.rpn_proposal.max_per_img": 1000,
        "model.train_cfg.rcnn.assigner.match_low_quality": True,
        "model.train_cfg.rcnn.mask_size": 28,
        "model.test_cfg.rpn.nms_pre": 1000,
        "model.test_cfg.rcnn.mask_thr_binary": 0.5,
        "train_pipeline.2.scales": [(1333, short) for short in range(640, 801, 32)],
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 12, "val_interval": 1},
        "param_scheduler.0.start_factor": 0.001,
        "param_scheduler.0.end": 1001,
        "param_scheduler.1.milestones": [8, 11],
        "param_scheduler.1.by_epoch": True,
        "val_evaluator.metric": ["bbox", "segm"],
    },
    VOC12: {
        **SEGMENTATION,
        "model.decode_head.num_classes": 21,
        "model.auxiliary_head.num_classes": 21,
        "model.decode_head.align_corners": False,
        "model.auxiliary_head.align_corners": False,
        "model.test_cfg": {"mode": "whole"},
        "model.data_preprocessor.size": (512, 512),
        "train_pipeline.2.scale": (2048, 512),
        "train_pipeline.3.crop_size": (512, 512),
        "test_pipeline.1.scale": (2048, 512),
        "train_dataloader.batch_size": 4,
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 20000, "val_interval": 2000},
        "param_scheduler": [
            {"type": "PolyLR", "power": 0.9, "eta_min": 1e-4, "by_epoch": False, "begin": 0, "end": 20001}
        ],
        "train_dataloader.dataset.datasets.1.ann_file": "ImageSets/Segmentation/aug.txt",
    },
    CITY: {
        **SEGMENTATION,
        "model.decode_head.num_classes": 19,
        "model.auxiliary_head.num_classes": 19,
        "model.decode_head.align_corners": True,
        "model.auxiliary_head.align_corners": True,
        "model.test_cfg": {"mode": "slide", "crop_size": (769, 769), "stride": (513, 513)},
        "model.data_preprocessor.size": (769, 769),
        "train_pipeline.2.scale": (2049, 1025),
        "train_pipeline.3.crop_size": (769, 769),
        "test_pipeline.1.scale": (2049, 1025),
        "train_dataloader.batch_size": 2,
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 40000, "val_interval": 4000},
        "param_scheduler": [
            {"type": "PolyLR", "power": 0.9, "eta_min": 1e-4, "by_epoch": False, "begin": 0, "end": 40001}
        ],
    },
}
SOLVER = {"IMS_PER_BATCH": 16, "BASE_LR": 0.02, "WEIGHT_DECAY": 1e-4, "WEIGHT_DECAY_NORM": 0.0}
C4_RPN = {"PRE_NMS_TOPK_TRAIN": 12000, "PRE_NMS_TOPK_TEST": 6000}
C4_RPN.update({"POST_NMS_TOPK_TRAIN": 2000, "POST_NMS_TOPK_TEST": 1000})
D2_FACTS = {
    "voc0712_c4_24k": {
        "SOLVER": {**SOLVER, "STEPS": [18000, 22000], "MAX_ITER": 24000, "WARMUP_ITERS": 100},
        "INPUT.MIN_SIZE_TRAIN": list(range(480, 801, 32)),
        "MODEL.ROI_HEADS": {"NAME": "Res5ROIHeadsExtraNorm", "NUM_CLASSES": 20},
        "MODEL.RPN": {"IN_FEATURES": ["res4"], "BOUNDARY_THRESH": -1, **C4_RPN},
        "MODEL.MASK_ON": False,
        "DATASETS": {"TRAIN": ["voc_2007_trainval", "voc_2012_trainval"], "TEST": ["voc_2007_test"]},
    },
    "coco_mask_rcnn_c4_2x": {
        "SOLVER": {**SOLVER, "STEPS": [120000, 160000], "MAX_ITER": 180000, "WARMUP_ITERS": 1000},
        "INPUT.MIN_SIZE_TRAIN": list(range(640, 801, 32)),
        "MODEL.ROI_HEADS": {"NAME": "Res5ROIHeadsExtraNorm", "NUM_CLASSES": 80},
        "MODEL.RPN": {"IN_FEATURES": ["res4"], "BOUNDARY_THRESH": -1, **C4_RPN},
        "MODEL.MASK_ON": True,
    },
    "coco_mask_rcnn_fpn_1x": {
        "SOLVER": {**SOLVER, "STEPS": [60000, 80000], "MAX_ITER": 90000, "WARMUP_ITERS": 1000},
        "INPUT.MIN_SIZE_TRAIN": list(range(640, 801, 32)),
        "MODEL.FPN": {"IN_FEATURES": ["res2", "res3", "res4", "res5"], "NORM": "SyncBN"},
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
        "MODEL.ROI_BOX_HEAD.NORM": "SyncBN",
        "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
        "MODEL.ROI_MASK_HEAD.NORM": "SyncBN",
        "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
        "MODEL.MASK_ON": True,
    },
}


def at(values, path):
    """What stands at `a.b.0.c`."""
    for part in path.split("."):
        values = values[int(part)] if part.isdigit() else values[part]
    return values


def merged(path):
    """A YAML file of Detectron2 over the file that its `_BASE_` names."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    base = values.pop("_BASE_", None)
    return values if base is None else _over(merged(path.parent / base), values)


def _over(base, values):
    for key, value in values.items():
        base[key] = _over(base.get(key, {}), value) if isinstance(value, dict) else value
    return base


def dictionaries(values):
    """All dictionaries within a configuration."""
    if isinstance(values, dict):
        yield values
    for child in values.values() if isinstance(values, dict) else values if isinstance(values, (list, tuple)) else ():
        yield from dictionaries(child)


def test_all_are_known_here():
    assert {path.stem for path in MM} == set(FACTS) and {path.stem for path in D2} == set(D2_FACTS)


@pytest.mark.parametrize("path", MM, ids=lambda path: path.stem)
def test_numbers_of_the_protocol(path):
    values = runpy.run_path(str(path))
    found = {where: at(values, where) for where in FACTS[path.stem]}
    assert found == FACTS[path.stem]


@pytest.mark.parametrize("path", MM, ids=lambda path: path.stem)
def test_the_weights_are_taken_as_they_were_trained(path):
    """Where published configurations go wrong: normalisation, the kind of network, and what is frozen."""
    values = runpy.run_path(str(path))
    assert "data_preprocessor" not in values
    images = values["model"]["data_preprocessor"]
    assert (images["mean"], images["std"], images["bgr_to_rgb"]) == (MEAN, STD, True)
    network = values["model"]["backbone"]
    assert (network["type"], network["depth"], network["style"]) == ("ExactResNet", 50, "pytorch")
    assert (network["frozen_stages"], network["norm_eval"], network["norm_cfg"]) == (-1, False, SYNC)
    assert "paramwise_cfg" not in values["optim_wrapper"]
    assert not any({"init_cfg", "pretrained"} & part.keys() for part in dictionaries(values["model"]))
    files = [part["checkpoint"] for part in dictionaries(values["model"]) if "checkpoint" in part]
    assert files == ["{{$BYOL_WEIGHTS:byol.pth}}"] * (2 if path.stem == C4 else 1)
    assert network["padding"] == "{{$BYOL_PADDING:torch}}"


@pytest.mark.parametrize("path", MM, ids=lambda path: path.stem)
def test_the_classes_are_in_the_modules_that_are_imported(path):
    values = runpy.run_path(str(path))
    assert values["custom_imports"]["allow_failed_imports"] is False
    there = set()
    for name in values["custom_imports"]["imports"]:
        tree = ast.parse((BRIDGE / f"{name}.py").read_text(encoding="utf-8"))
        there |= {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    ours = {part["type"] for part in dictionaries(values["model"]) if "checkpoint" in part}
    assert ours and ours <= there


@pytest.mark.parametrize("path", D2, ids=lambda path: path.stem)
def test_detectron2(path):
    values = merged(path)
    found = {where: at(values, where) for where in D2_FACTS[path.stem]}
    assert found == D2_FACTS[path.stem]
    model = values["MODEL"]
    assert (model["PIXEL_MEAN"], model["PIXEL_STD"], values["INPUT"]["FORMAT"]) == (MEAN, STD, "RGB")
    expected = {"DEPTH": 50, "NORM": "SyncBN", "STRIDE_IN_1X1": False, "PADDING": "torch"}
    assert {key: model["RESNETS"][key] for key in expected} == expected
    assert model["BACKBONE"]["FREEZE_AT"] == 0
    assert values["TEST"]["PRECISE_BN"] == {"ENABLED": True, "NUM_ITER": 200}
    sides = {key: values["INPUT"][key] for key in ("MIN_SIZE_TEST", "MAX_SIZE_TRAIN", "MAX_SIZE_TEST")}
    assert sides == {"MIN_SIZE_TEST": 800, "MAX_SIZE_TRAIN": 1333, "MAX_SIZE_TEST": 1333}


@pytest.mark.parametrize("path", [*MM, *D2], ids=lambda path: path.stem)
def test_each_says_what_it_is(path):
    head = path.read_text(encoding="utf-8")
    assert re.search(r"^#   hardware +\d GPUs, \d images each$", head, re.M)
    assert re.search(r"^#   expected +none measured; ", head, re.M)
    named = re.findall(r"scripts/bridge/[\w/.]+", head)
    assert str(path.relative_to(ROOT)) in named and all((ROOT / name).is_file() for name in named)
    assert path.name in (ROOT / "docs" / "pytorch_bridge.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", MM, ids=lambda path: path.stem)
def test_mmengine_reads_them(path, monkeypatch):
    config = pytest.importorskip("mmengine.config", reason="mmengine is not installed")
    monkeypatch.setenv("BYOL_WEIGHTS", "/weights/mine.pth")
    monkeypatch.setenv("BYOL_PADDING", "mindcv")
    values = config.Config.fromfile(str(path), import_custom_modules=False)
    assert (values.model.backbone.checkpoint, values.model.backbone.padding) == ("/weights/mine.pth", "mindcv")
    if path.stem == C4:
        assert values.model.roi_head.shared_head.checkpoint == "/weights/mine.pth"


@pytest.mark.parametrize("path", D2, ids=lambda path: path.stem)
def test_detectron2_knows_the_keys(path):
    """It refuses a key that it has no default for, and a value of another type."""
    config = pytest.importorskip("detectron2.config", reason="detectron2 is not installed")
    cfg = config.get_cfg()
    cfg.MODEL.RESNETS.PADDING = "torch"
    cfg.merge_from_file(str(path))
    assert cfg.MODEL.RESNETS.STRIDE_IN_1X1 is False
