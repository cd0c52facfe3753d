"""ImageNet-22k (fall 2011) at 224 x 224: 14.2 million images of 21,841 classes, no validation.

The images are in ``train/<wnid>/``.
"""

_base_ = ['imagenet.py']
train_dataloader = dict(
    batch_size=32, dataset=dict(type='convnext_dense.ImageNet22k', data_root='data/imagenet22k')
)
val_dataloader = val_evaluator = None  # the schedule has no val_cfg
test_dataloader = test_evaluator = None
