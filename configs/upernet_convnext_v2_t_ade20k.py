"""UperNet with ConvNeXt V2-T on ADE20K: V1's recipe without layer scale, as V2 has no recipe."""

_base_ = 'upernet_convnext_t_ade20k.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='convnext_dense.ConvNeXt',
        arch='v2_tiny',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.4,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_tiny_1k_224_ema.pt',
        ),
    )
)
