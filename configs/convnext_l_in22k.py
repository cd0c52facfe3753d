"""ConvNeXt-L, ImageNet-22k from scratch, 90 epochs at 224 x 224: the authors' recipe.

Paper:    arXiv:2201.03545 section 3.1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_l_in22k.py 8        8 GPUs x 32 images x 16
Cost:     34.4 GMACs at 224 x 224 (the authors' count, with a head of 1,000 classes)
Expected: no score of its own; convnext_l_in22k_in1k.py goes on from it. Ours: not yet run.
"""

_base_ = 'convnext_b_in22k.py'
model = dict(arch='large', drop_path_rate=0.1)
