"""Cascade Mask R-CNN, ConvNeXt-L pretrained on ImageNet-22k, COCO, 36 epochs: the authors' recipe.

Paper:    arXiv:2201.03545 table 3; facebookresearch/ConvNeXt object_detection/configs/convnext/cascade_mask_rcnn_
          convnext_large_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco_in22k.py @ 048efce
Command:  bash tools/dist_train.sh configs/cascade_mask_rcnn_convnext_l_22k_coco.py 8        8 GPUs x 2 images
          python tools/test.py configs/cascade_mask_rcnn_convnext_l_22k_coco.py CHECKPOINT [--tta] [--per-class]
Cost:     255 M parameters, 1,354 GMACs at 1280 x 800 (the authors' count); single precision
Expected: 54.8 box AP, 47.6 mask AP (the authors' scores). Ours: not yet run.
"""

_base_ = 'cascade_mask_rcnn_convnext_t_coco.py'
model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.7,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth'
        ),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.7, decay_type='layer_wise', num_layers=12),
)
