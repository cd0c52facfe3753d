"""ConvNeXt-L at 224 x 224, from ImageNet-22k, 30 epochs with layer decay 0.8: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_l_in22k_in1k.py 8        8 GPUs x 32 images x 2
          python tools/test.py configs/convnext_l_in22k_in1k.py CHECKPOINT
Cost:     197.8 M parameters, 34.4 GMACs at 224 x 224 (the authors' count)
Expected: 86.6 top-1 (the authors' score). Ours: not yet run.
"""

_base_ = 'convnext_b_in22k_in1k.py'
model = dict(
    arch='large',
    drop_path_rate=0.3,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth'),
)
