"""``upernet_convnext_atto_sample.py`` for 200 iterations, where the first weights decide.

``make pretrain-transfer`` runs it from random weights and from a pretrained classifier.
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
# Smaller steps in early layers keep more of what was pretrained; docs/transfer.md has figures.
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.7))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters + 1)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters), logger=dict(interval=25))
custom_hooks = _base_.custom_hooks[:-1]  # no pictures
