"""ConvNeXt-B, ImageNet-1k from scratch, 300 epochs at 224 x 224: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_b_in1k.py 8        8 GPUs x 128 images x 4
          python tools/test.py configs/convnext_b_in1k.py CHECKPOINT
Cost:     88.6 M parameters, 15.4 GMACs at 224 x 224 (the authors' count)
Expected: 83.8 top-1 with averaged weights (the authors' score). Ours: not yet run.
"""

_base_ = 'convnext_t_in1k.py'
model = dict(arch='base', drop_path_rate=0.5)
