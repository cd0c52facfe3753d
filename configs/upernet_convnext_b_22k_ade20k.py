"""UperNet, ConvNeXt-B pretrained on ImageNet-22k, ADE20K, 160k iterations at 640 x 640: the authors' recipe.

Paper:    arXiv:2201.03545 table 4; facebookresearch/ConvNeXt semantic_segmentation/configs/convnext/
          upernet_convnext_base_640_160k_ade20k_ss.py and the one without _ss @ 048efce
Command:  bash tools/dist_train.sh configs/upernet_convnext_b_22k_ade20k.py 8        8 GPUs x 2 images
          python tools/test.py configs/upernet_convnext_b_22k_ade20k.py CHECKPOINT [--tta]
Cost:     122 M parameters, 1,828 GMACs at 2560 x 640 (the authors' count)
Expected: 52.6 mIoU, 53.1 with --tta (the authors' scores). Ours: not yet run.
"""

_base_ = [
    '_base_/models_upernet_convnext.py',
    '_base_/ade20k_640.py',
    '_base_/schedule_160k.py',
    '_base_/default_runtime.py',
]
crop_size = (640, 640)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        arch='base',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth',
        ),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024], num_classes=150),
    auxiliary_head=dict(in_channels=512, num_classes=150),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(426, 426)),
)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.9, decay_type='stage_wise', num_layers=12),
)
