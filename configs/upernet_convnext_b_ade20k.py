"""UperNet, ConvNeXt-B, ADE20K, 160k iterations at 512 x 512: the authors' recipe.

Paper:    arXiv:2201.03545 table 4; facebookresearch/ConvNeXt semantic_segmentation/configs/convnext/
          upernet_convnext_base_512_160k_ade20k_ss.py and _ms.py @ 048efce
Command:  bash tools/dist_train.sh configs/upernet_convnext_b_ade20k.py 8        8 GPUs x 2 images
          python tools/test.py configs/upernet_convnext_b_ade20k.py CHECKPOINT [--tta]
Cost:     122 M parameters, 1,170 GMACs at 2048 x 512 (the authors' count)
Expected: 49.1 mIoU, 49.9 with --tta (the authors' scores). Ours: not yet run.
"""

_base_ = 'upernet_convnext_t_ade20k.py'
model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_1k_224.pth'
        ),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=12))
