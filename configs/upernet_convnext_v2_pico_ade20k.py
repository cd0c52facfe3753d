"""UperNet, ConvNeXt V2-P, ADE20K, 160k iterations at 512 x 512: V1's recipe, as V2 has none for segmentation.

Paper:    arXiv:2301.00808 has no scores for this head and training; the settings are those of
          upernet_convnext_t_ade20k.py, without layer scale, drop path 0.1
Command:  bash tools/dist_train.sh configs/upernet_convnext_v2_pico_ade20k.py 8        8 GPUs x 2 images
          python tools/test.py configs/upernet_convnext_v2_pico_ade20k.py CHECKPOINT [--tta]
Cost:     39 M parameters, 9.1 M of them in the backbone
Expected: no published score. Ours: not yet run.
"""

_base_ = 'upernet_convnext_v2_t_ade20k.py'
model = dict(
    backbone=dict(
        arch='v2_pico',
        drop_path_rate=0.1,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_pico_1k_224_ema.pt'
        ),
    ),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256),
)
