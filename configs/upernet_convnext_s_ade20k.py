"""UperNet, ConvNeXt-S, ADE20K, 160k iterations at 512 x 512: the authors' recipe.

Paper:    arXiv:2201.03545 table 4; facebookresearch/ConvNeXt semantic_segmentation/configs/convnext/
          upernet_convnext_small_512_160k_ade20k_ss.py and _ms.py @ 048efce
Command:  bash tools/dist_train.sh configs/upernet_convnext_s_ade20k.py 8        8 GPUs x 2 images
          python tools/test.py configs/upernet_convnext_s_ade20k.py CHECKPOINT [--tta]
Cost:     82 M parameters, 1,027 GMACs at 2048 x 512 (the authors' count)
Expected: 48.7 mIoU, 49.6 with --tta (the authors' scores). Ours: not yet run.
"""

_base_ = 'upernet_convnext_t_ade20k.py'
model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.3,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_small_1k_224.pth'
        ),
    )
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=12))
