"""ImageNet-1k at 384 x 384. Validation resizes whole images to a square, as the authors do."""

_base_ = ['imagenet.py']
train_dataloader = dict(dataset=dict(transform=dict(input_size=384)))
val_dataloader = dict(
    batch_size=96, dataset=dict(transform=dict(input_size=384, crop_pct=1.0, crop_mode='squash'))
)
test_dataloader = val_dataloader
