"""UperNet with ConvNeXt-B on ADE20K at 640 x 640: the authors' recipe, L's in mixed precision.

The backbone starts from ImageNet-22k weights.
"""

_base_ = 'upernet_convnext_l_22k_ade20k.py'
model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth'
        ),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
