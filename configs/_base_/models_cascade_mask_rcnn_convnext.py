"""Cascade Mask R-CNN: three box heads of four convolutions, for rising IoU thresholds.

Paper: arXiv:1712.00726 (Cascade R-CNN), arXiv:2201.03545 appendix A.3.
Source: facebookresearch/ConvNeXt @ 048efce, object_detection/configs/convnext/
        cascade_mask_rcnn_convnext_*.py and configs/_base_/models/cascade_mask_rcnn_convnext_fpn.py
Differs: the mask heads are mmdet's three.
"""

_base_ = ['models_mask_rcnn_convnext.py']
model = dict(
    type='CascadeRCNN',
    rpn_head=dict(loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)),
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            dict(
                type='ConvFCBBoxHead',
                num_shared_convs=4,
                num_shared_fcs=1,
                in_channels=256,
                conv_out_channels=256,
                fc_out_channels=1024,
                roi_feat_size=7,
                num_classes=80,
                bbox_coder=dict(
                    type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[xy, xy, wh, wh]
                ),
                reg_class_agnostic=False,
                reg_decoded_bbox=True,
                norm_cfg=dict(type='SyncBN', requires_grad=True),
                loss_cls=_base_.classification,
                loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
            )
            for xy, wh in ((0.1, 0.2), (0.05, 0.1), (0.033, 0.067))
        ],
    ),
    train_cfg=dict(
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(max_per_img=2000),
        rcnn=[
            dict(
                _base_.model.train_cfg.rcnn,
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=iou,
                    neg_iou_thr=iou,
                    min_pos_iou=iou,
                    match_low_quality=False,
                    ignore_iof_thr=-1,
                ),
            )
            for iou in (0.5, 0.6, 0.7)
        ],
    ),
)
