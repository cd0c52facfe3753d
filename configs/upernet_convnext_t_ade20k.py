"""UperNet, ConvNeXt-T, ADE20K, 160k iterations at 512 x 512: the authors' recipe.

Paper:    arXiv:2201.03545 table 4; facebookresearch/ConvNeXt semantic_segmentation/configs/convnext/
          upernet_convnext_tiny_512_160k_ade20k_ss.py and _ms.py @ 048efce
Command:  bash tools/dist_train.sh configs/upernet_convnext_t_ade20k.py 8        8 GPUs x 2 images
          python tools/test.py configs/upernet_convnext_t_ade20k.py CHECKPOINT [--tta]
Cost:     60 M parameters, 939 GMACs at 2048 x 512 (the authors' count)
Expected: 46.0 mIoU, 46.7 with --tta (the authors' scores). Ours: not yet run.
"""

_base_ = [
    '_base_/models_upernet_convnext.py',
    '_base_/ade20k.py',
    '_base_/schedule_160k.py',
    '_base_/default_runtime.py',
]
crop_size = (512, 512)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth',
        ),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768], num_classes=150),
    auxiliary_head=dict(in_channels=384, num_classes=150),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(341, 341)),
)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.9, decay_type='stage_wise', num_layers=6),
)
