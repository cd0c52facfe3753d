"""ConvNeXt-L at 384 x 384, from ImageNet-22k, 30 epochs with layer decay 0.8: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_l_in22k_384_in1k.py 8        8 GPUs x 16 images x 4
          python tools/test.py configs/convnext_l_in22k_384_in1k.py CHECKPOINT
Cost:     197.8 M parameters, 101.0 GMACs at 384 x 384 (the authors' count)
Expected: 87.5 top-1 (the authors' score). Ours: not yet run.
"""

_base_ = 'convnext_b_in22k_384_in1k.py'
model = dict(
    arch='large',
    drop_path_rate=0.3,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth'),
)
