"""Trains Detectron2 on our weights: `detectron2_train.py --config-file configs/detectron2/NAME.yaml --num-gpus 8`.

Adds to Detectron2 the norm behind res5 of the C4 configurations, and the key `MODEL.RESNETS.PADDING` (`torch` or
`mindcv`). Needs detectron2 0.6; flags are those of its own tools/train_net.py.
"""

from pathlib import Path

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup, launch
from detectron2.evaluation import COCOEvaluator, PascalVOCDetectionEvaluator
from detectron2.layers import get_norm
from detectron2.modeling.backbone.resnet import BasicStem
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, Res5ROIHeads
from exported_weights import PADDINGS, PaddedMaxPool
from torch.nn import functional


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeadsExtraNorm(Res5ROIHeads):
    """The C4 head with one more norm behind res5's last ReLU, which starts fresh (MoCo, He et al. 2020, 4.2)."""

    @classmethod
    def _build_res5_block(cls, cfg):
        blocks, channels = super()._build_res5_block(cfg)
        blocks.add_module("norm", get_norm(cfg.MODEL.RESNETS.NORM, channels))
        return blocks, channels


class MindCVStem(BasicStem):
    """The stem with the max-pool padded as MindCV does."""

    def forward(self, x):
        """(N, 3, H, W) to (N, 64, H / 4, W / 4)."""
        return PaddedMaxPool()(functional.relu_(self.conv1(x)))


class Trainer(DefaultTrainer):
    """Detectron2's own, with our stem and the evaluator that belongs to the data set."""

    @classmethod
    def build_model(cls, cfg):
        model = super().build_model(cfg)
        if cfg.MODEL.RESNETS.PADDING == "mindcv":
            network = getattr(model.backbone, "bottom_up", model.backbone)
            network.stem.__class__ = MindCVStem
        return model

    @classmethod
    def build_evaluator(cls, cfg, dataset_name, output_folder=None):
        if MetadataCatalog.get(dataset_name).evaluator_type == "pascal_voc":
            return PascalVOCDetectionEvaluator(dataset_name)
        return COCOEvaluator(dataset_name, output_dir=output_folder or str(Path(cfg.OUTPUT_DIR) / "inference"))


def read_config(args):
    """The defaults with our key, then the file, then KEY VALUE pairs of the command line.

    Raises:
        ValueError: No such padding.
    """
    cfg = get_cfg()
    cfg.MODEL.RESNETS.PADDING = "torch"
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    if cfg.MODEL.RESNETS.PADDING not in PADDINGS:
        raise ValueError(f"MODEL.RESNETS.PADDING: '{cfg.MODEL.RESNETS.PADDING}' is none of {', '.join(PADDINGS)}")
    cfg.freeze()
    return cfg


def main(args):
    """What each process runs."""
    cfg = read_config(args)
    default_setup(cfg, args)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)
        return Trainer.test(cfg, model)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    flags = default_argument_parser().parse_args()
    launch(
        main,
        flags.num_gpus,
        num_machines=flags.num_machines,
        machine_rank=flags.machine_rank,
        dist_url=flags.dist_url,
        args=(flags,),
    )
