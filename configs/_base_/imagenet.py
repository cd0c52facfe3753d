"""ImageNet-1k at 224 x 224: 1,281,167 training and 50,000 validation images of 1,000 classes.

Source: facebookresearch/ConvNeXt datasets.py, main.py @ 048efce
"""

default_scope = 'mmengine'
data_root = 'data/imagenet'
train_transform = dict(
    input_size=224, is_training=True, auto_augment='rand-m9-mstd0.5-inc1', interpolation='bicubic'
)
val_transform = dict(input_size=224, interpolation='bicubic', crop_pct=0.875, crop_mode='center')
loader = dict(
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='default_collate'),
)
train_dataloader = dict(
    **loader,
    batch_size=128,
    drop_last=True,
    sampler=dict(type='convnext_dense.SeedingSampler', shuffle=True),
    dataset=dict(
        type='convnext_dense.ImageNet',
        data_root=data_root,
        split='train',
        transform=train_transform,
    ),
)
val_dataloader = dict(
    **loader,
    batch_size=192,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='convnext_dense.ImageNet', data_root=data_root, split='val', transform=val_transform
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='convnext_dense.TopKAccuracy', topk=(1, 5))
test_evaluator = val_evaluator
