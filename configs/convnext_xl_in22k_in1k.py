"""ConvNeXt-XL at 224 x 224, from ImageNet-22k, 30 epochs with layer decay 0.8: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_xl_in22k_in1k.py 8        8 GPUs x 16 images x 4
          python tools/test.py configs/convnext_xl_in22k_in1k.py CHECKPOINT
Cost:     350.2 M parameters, 60.9 GMACs at 224 x 224 (the authors' count)
Expected: 87.0 top-1 with averaged weights (the authors' score). Ours: not yet run.
"""

_base_ = 'convnext_b_in22k_in1k.py'
model = dict(
    arch='xlarge',
    drop_path_rate=0.4,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth'),
)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(accumulative_counts=4)
auto_scale_lr = dict(base_batch_size=128)  # of all GPUs together, before accumulation
custom_hooks = [*_base_.custom_hooks, dict(type='convnext_dense.EMAHook', decay=0.9999)]
