"""UperNet, ConvNeXt-L pretrained on ImageNet-22k, ADE20K, 160k iterations at 640 x 640: the authors' recipe.

Paper:    arXiv:2201.03545 table 4; facebookresearch/ConvNeXt semantic_segmentation/configs/convnext/
          upernet_convnext_large_640_160k_ade20k_ss.py and the one without _ss @ 048efce
Command:  bash tools/dist_train.sh configs/upernet_convnext_l_22k_ade20k.py 8        8 GPUs x 2 images
          python tools/test.py configs/upernet_convnext_l_22k_ade20k.py CHECKPOINT [--tta]
Cost:     235 M parameters, 2,458 GMACs at 2560 x 640 (the authors' count); single precision
Expected: 53.2 mIoU, 53.7 with --tta (the authors' scores). Ours: not yet run.
"""

_base_ = 'upernet_convnext_b_22k_ade20k.py'
model = dict(
    backbone=dict(
        arch='large',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth'
        ),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.9, decay_type='stage_wise', num_layers=12),
)
