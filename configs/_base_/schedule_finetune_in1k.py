"""ImageNet-1k from pretrained weights: 30 epochs, batches of 512, cosine from 5e-5 to 1e-6.

Both ends of the cosine are multiplied by the scale of the layer.
"""

_base_ = ['schedule_in1k.py']
max_epochs = 30
optim_wrapper = dict(
    accumulative_counts=2,  # 8 GPUs x 32 images x 2 = 512
    optimizer=dict(lr=5e-5, weight_decay=1e-8),
    paramwise_cfg=dict(decay_rate=0.8, decay_type='layer_wise'),
)
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / 5e-5,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=max_epochs)
auto_scale_lr = dict(base_batch_size=256)  # of all GPUs together, before accumulation
