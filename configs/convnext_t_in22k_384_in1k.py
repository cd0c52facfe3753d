"""ConvNeXt-T at 384 x 384, from ImageNet-22k, 30 epochs with layer decay 0.8.

The authors published weights and score and no command: all but B's recipe, with a drop path that is our choice.

Paper:    score in README.md; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_t_in22k_384_in1k.py 8        8 GPUs x 16 images x 4
          python tools/test.py configs/convnext_t_in22k_384_in1k.py CHECKPOINT
Cost:     28.6 M parameters, 13.1 GMACs at 384 x 384 (the authors' count)
Expected: 84.1 top-1 (the authors' score). Ours: not yet run.
"""

_base_ = 'convnext_b_in22k_384_in1k.py'
model = dict(
    arch='tiny',
    drop_path_rate=0.1,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_22k_224.pth'),
)
