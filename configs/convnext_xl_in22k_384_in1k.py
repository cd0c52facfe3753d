"""ConvNeXt-XL at 384 x 384, from ImageNet-22k, 30 epochs with layer decay 0.8: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_xl_in22k_384_in1k.py 8        8 GPUs x 8 images x 8
          python tools/test.py configs/convnext_xl_in22k_384_in1k.py CHECKPOINT
Cost:     350.2 M parameters, 179.0 GMACs at 384 x 384 (the authors' count)
Expected: 87.8 top-1 with averaged weights (the authors' score). Ours: not yet run.
"""

_base_ = 'convnext_b_in22k_384_in1k.py'
model = dict(
    arch='xlarge',
    drop_path_rate=0.4,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth'),
)
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(accumulative_counts=8)
auto_scale_lr = dict(base_batch_size=64)  # of all GPUs together, before accumulation
custom_hooks = [*_base_.custom_hooks, dict(type='convnext_dense.EMAHook', decay=0.9999)]
