"""UperNet, ConvNeXt-XL pretrained on ImageNet-22k, ADE20K, 160k iterations at 640 x 640: the authors' recipe.

Paper:    arXiv:2201.03545 table 4; facebookresearch/ConvNeXt semantic_segmentation/configs/convnext/
          upernet_convnext_xlarge_640_160k_ade20k_ss.py and the one without _ss @ 048efce
Command:  bash tools/dist_train.sh configs/upernet_convnext_xl_22k_ade20k.py 8        8 GPUs x 2 images
          python tools/test.py configs/upernet_convnext_xl_22k_ade20k.py CHECKPOINT [--tta]
Cost:     391 M parameters, 3,335 GMACs at 2560 x 640 (the authors' count); single precision
Expected: 53.6 mIoU, 54.0 with --tta (the authors' scores). Ours: not yet run.
"""

_base_ = 'upernet_convnext_l_22k_ade20k.py'
model = dict(
    backbone=dict(
        arch='xlarge',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth'
        ),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
optim_wrapper = dict(optimizer=dict(lr=8e-5))
