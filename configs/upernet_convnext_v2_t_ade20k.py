"""UperNet, ConvNeXt V2-T, ADE20K, 160k iterations at 512 x 512: V1's recipe, as V2 has none for segmentation.

Paper:    arXiv:2301.00808 has no scores for this head and training; the settings are those of
          upernet_convnext_t_ade20k.py, without layer scale
Command:  bash tools/dist_train.sh configs/upernet_convnext_v2_t_ade20k.py 8        8 GPUs x 2 images
          python tools/test.py configs/upernet_convnext_v2_t_ade20k.py CHECKPOINT [--tta]
Cost:     60 M parameters, 28.6 M of them in the backbone
Expected: no published score. Ours: not yet run.
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
        arch='v2_tiny',
        drop_path_rate=0.4,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_tiny_1k_224_ema.pt',
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
    paramwise_cfg=dict(decay_rate=0.9, decay_type='stage_wise'),
)
