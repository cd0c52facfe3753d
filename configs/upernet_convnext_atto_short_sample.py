"""UperNet, ConvNeXt-atto, drawn sample scenes: a run so short that the backbone's first weights decide.

Measured: mIoU 28.6, 23.4, 26.5 from random weights, 33.4, 29.1, 33.1 transferred, with seeds 0, 1, 2
          and OMP_NUM_THREADS=1
Command:  make pretrain-transfer; from random weights alone
          python tools/prepare_data.py sample && python tools/train.py configs/upernet_convnext_atto_short_sample.py
Data:     data/sample/ade/ADEChallengeData2016
"""

_base_ = 'upernet_convnext_atto_sample.py'
crop_size = (128, 128)
max_iters = 200
model = dict(data_preprocessor=dict(size=crop_size))
train_pipeline = [
    dict(step, crop_size=crop_size) if step['type'] == 'RandomCrop' else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# Smaller steps in early layers: pretrained ones keep more of what they know. docs/transfer.md has the figures.
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.7))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters + 1)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters), logger=dict(interval=25))
custom_hooks = _base_.custom_hooks[:-1]  # no pictures
