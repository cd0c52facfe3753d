"""ConvNeXt-S at 224 x 224, from ImageNet-22k, 30 epochs with layer decay 0.8.

The authors published weights and score and no command: all but B's recipe, with a drop path that is our choice.

Paper:    score in README.md; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_s_in22k_in1k.py 8        8 GPUs x 32 images x 2
          python tools/test.py configs/convnext_s_in22k_in1k.py CHECKPOINT
Cost:     50.2 M parameters, 8.7 GMACs at 224 x 224 (the authors' count)
Expected: 84.6 top-1 (the authors' score). Ours: not yet run.
"""

_base_ = 'convnext_b_in22k_in1k.py'
model = dict(
    arch='small',
    drop_path_rate=0.1,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_small_22k_224.pth'),
)
