# MMSegmentation 1.x: FCN R50-D8 on VOC2012 train + aug, 512x512, 20,000 iterations, scored on VOC2012 val.
#   hardware   4 GPUs, 4 images each
#   expected   none measured; mmselfsup reports mIoU 67.16 for BYOL, 200 epochs (its 0.x configuration, which this is)
#   weights    BYOL_WEIGHTS, BYOL_PADDING: see docs/pytorch_bridge.md
#   command    PYTHONPATH=scripts/bridge BYOL_WEIGHTS=byol.pth mim train mmseg \
#                  scripts/bridge/configs/mmsegmentation/fcn_r50_d8_512x512_20k_voc12aug.py --launcher pytorch -G 4

default_scope = "mmseg"
custom_imports = dict(imports=["mmseg_exact"], allow_failed_imports=False)
norm_cfg = dict(type="SyncBN", requires_grad=True)
crop_size = (512, 512)

# model: the plain stem with its one 7x7 convolution; output stride 8
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,  # after normalisation; so there is no Pad among the transforms
        seg_pad_val=255,
        size=crop_size,
    ),
    backbone=dict(
        type="ExactResNet",
        checkpoint="{{$BYOL_WEIGHTS:byol.pth}}",
        padding="{{$BYOL_PADDING:torch}}",
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
    ),
    decode_head=dict(
        type="FCNHead",
        in_channels=2048,
        in_index=3,
        channels=512,
        num_convs=2,
        concat_input=True,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=norm_cfg,
        align_corners=False,
        # the mean over all pixels, ignored ones too
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=False, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=False, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

# data: data/VOCdevkit/VOC2012 with SegmentationClassAug and ImageSets/Segmentation/aug.txt, as MMSegmentation's
# tools/dataset_converters/voc_aug.py writes them
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(2048, 512), keep_ratio=True),
    dict(type="LoadAnnotations"),  # behind Resize: labels stay those of the original image
    dict(type="PackSegInputs"),
]
data_root = "data/VOCdevkit/VOC2012"
train_set = dict(
    type="PascalVOCDataset",
    data_root=data_root,
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    ann_file="ImageSets/Segmentation/train.txt",
    pipeline=train_pipeline,
)
aug_set = dict(
    type="PascalVOCDataset",
    data_root=data_root,
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
    ann_file="ImageSets/Segmentation/aug.txt",
    pipeline=train_pipeline,
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(type="ConcatDataset", datasets=[train_set, aug_set]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PascalVOCDataset",
        data_root=data_root,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator

# schedule: weight decay on every parameter, the heads' rate as the backbone's, no warm-up. MMEngine divides by
# end - begin - 1, mmcv 1 by the number of iterations
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005), clip_grad=None
)
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=1e-4, by_epoch=False, begin=0, end=20001)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=20000, val_interval=2000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

# the run
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2000),
)
log_processor = dict(type="LogProcessor", window_size=50, by_epoch=False)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
