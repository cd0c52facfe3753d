"""``cascade_mask_rcnn_convnext_l_22k_coco.py`` for 12 epochs, a third of the authors' schedule."""

_base_ = 'cascade_mask_rcnn_convnext_l_22k_coco.py'
train_cfg = dict(max_epochs=12)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], milestones=[8, 11])]
