"""Cascade Mask R-CNN, ConvNeXt-T, COCO, 36 epochs: the authors' recipe.

Paper:    arXiv:2201.03545 table 3; facebookresearch/ConvNeXt object_detection/configs/convnext/cascade_mask_rcnn_
          convnext_tiny_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco_in1k.py @ 048efce
Command:  bash tools/dist_train.sh configs/cascade_mask_rcnn_convnext_t_coco.py 8        8 GPUs x 2 images
          python tools/test.py configs/cascade_mask_rcnn_convnext_t_coco.py CHECKPOINT [--tta] [--per-class]
Cost:     86 M parameters, 741 GMACs at 1280 x 800 (the authors' count)
Expected: 50.4 box AP, 43.7 mask AP (the authors' scores). Ours: not yet run.
"""

_base_ = [
    '_base_/models_cascade_mask_rcnn_convnext.py',
    '_base_/coco.py',
    '_base_/schedule_coco_3x.py',
    '_base_/default_runtime_detection.py',
]
model = dict(
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth',
        ),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.7, decay_type='layer_wise', num_layers=6),
)
