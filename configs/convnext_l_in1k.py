"""ConvNeXt-L, ImageNet-1k from scratch, 300 epochs at 224 x 224: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_l_in1k.py 8        8 GPUs x 64 images x 8
          python tools/test.py configs/convnext_l_in1k.py CHECKPOINT
Cost:     197.8 M parameters, 34.4 GMACs at 224 x 224 (the authors' count)
Expected: 84.3 top-1 with averaged weights (the authors' score). Ours: not yet run.
"""

_base_ = 'convnext_t_in1k.py'
model = dict(arch='large', drop_path_rate=0.5)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(accumulative_counts=8)
auto_scale_lr = dict(base_batch_size=512)  # of all GPUs together, before accumulation
