"""Cascade Mask R-CNN, ConvNeXt-L pretrained on ImageNet-22k, COCO, 12 epochs: a third of the authors' schedule.

Paper:    arXiv:2201.03545 table 3 is for 36 epochs (cascade_mask_rcnn_convnext_l_22k_coco.py);
          no scores for 12
Command:  bash tools/dist_train.sh configs/cascade_mask_rcnn_convnext_l_22k_1x_coco.py 8        8 GPUs x 2 images
          python tools/test.py configs/cascade_mask_rcnn_convnext_l_22k_1x_coco.py CHECKPOINT [--tta] [--per-class]
Expected: no published score. Ours: not yet run.
"""

_base_ = 'cascade_mask_rcnn_convnext_l_22k_coco.py'
train_cfg = dict(max_epochs=12)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], milestones=[8, 11])]
