"""UperNet, ConvNeXt V2-N, ADE20K, 160k iterations at 512 x 512: V1's recipe, as V2 has none for segmentation.

Paper:    arXiv:2301.00808 has no scores for this head and training; the settings are those of
          upernet_convnext_t_ade20k.py, without layer scale, drop path 0.2
Command:  bash tools/dist_train.sh configs/upernet_convnext_v2_nano_ade20k.py 8        8 GPUs x 2 images
          python tools/test.py configs/upernet_convnext_v2_nano_ade20k.py CHECKPOINT [--tta]
Cost:     46 M parameters, 15.6 M of them in the backbone
Expected: no published score. Ours: not yet run.
"""

_base_ = 'upernet_convnext_v2_t_ade20k.py'
model = dict(
    backbone=dict(
        arch='v2_nano',
        drop_path_rate=0.2,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_nano_1k_224_ema.pt'
        ),
    ),
    decode_head=dict(in_channels=[80, 160, 320, 640]),
    auxiliary_head=dict(in_channels=320),
)
