"""A small Mask R-CNN of mmdet on the stand-in: a training step and a prediction."""

import mmcv._ext as ext
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData


def loss(name, **kwargs):
    return dict(type=name, loss_weight=1.0, **kwargs)


def roi_extractor(size, roi_layer='RoIAlign'):
    layer = dict(type=roi_layer, output_size=size)
    return dict(
        type='SingleRoIExtractor', roi_layer=layer, out_channels=16, featmap_strides=[4, 8, 16, 32]
    )


def assigner(positive, negative):
    return dict(
        type='MaxIoUAssigner', pos_iou_thr=positive, neg_iou_thr=negative, min_pos_iou=negative
    )


def sampler(count, **kwargs):
    return dict(type='RandomSampler', num=count, pos_fraction=0.5, neg_pos_ub=-1, **kwargs)


def coder(*stds):
    return dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=stds)


def proposals(nms):
    return dict(nms_pre=200, max_per_img=50, nms=nms, min_bbox_size=0)


def mask_rcnn(nms, dcn=None):
    """A narrow ResNet-50, 2 classes and 16 channels in the heads."""
    return ConfigDict(
        type='MaskRCNN',
        data_preprocessor=dict(type='DetDataPreprocessor', pad_mask=True, pad_size_divisor=32),
        backbone=dict(
            type='ResNet',
            depth=50,
            base_channels=4,
            norm_cfg=dict(type='BN'),
            dcn=dcn,
            stage_with_dcn=(False, False, False, dcn is not None),
        ),
        neck=dict(type='FPN', in_channels=[16, 32, 64, 128], out_channels=16, num_outs=5),
        rpn_head=dict(
            type='RPNHead',
            in_channels=16,
            feat_channels=16,
            bbox_coder=coder(1.0, 1.0, 1.0, 1.0),
            anchor_generator=dict(
                type='AnchorGenerator',
                scales=[4],
                ratios=[0.5, 1.0, 2.0],
                strides=[4, 8, 16, 32, 64],
            ),
            loss_cls=loss('CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=loss('L1Loss'),
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=roi_extractor(7),
            mask_roi_extractor=roi_extractor(14),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=16,
                fc_out_channels=32,
                roi_feat_size=7,
                num_classes=2,
                bbox_coder=coder(0.1, 0.1, 0.2, 0.2),
                reg_class_agnostic=False,
                loss_cls=loss('CrossEntropyLoss', use_sigmoid=False),
                loss_bbox=loss('L1Loss'),
            ),
            mask_head=dict(
                type='FCNMaskHead',
                num_convs=1,
                in_channels=16,
                conv_out_channels=16,
                num_classes=2,
                loss_mask=loss('CrossEntropyLoss', use_mask=True),
            ),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=assigner(0.7, 0.3),
                sampler=sampler(64, add_gt_as_proposals=False),
                allowed_border=-1,
                pos_weight=-1,
                debug=False,
            ),
            rpn_proposal=proposals(dict(type='nms', iou_threshold=0.7)),
            rcnn=dict(
                assigner=assigner(0.5, 0.5),
                sampler=sampler(32, add_gt_as_proposals=True),
                mask_size=28,
                pos_weight=-1,
                debug=False,
            ),
        ),
        test_cfg=dict(
            rpn=proposals(dict(type='nms', iou_threshold=0.7)),
            rcnn=dict(score_thr=0.0, nms=nms, max_per_img=10, mask_thr_binary=0.5),
        ),
    )


def make_batch():
    boxes = torch.tensor([[8.0, 8.0, 60.0, 50.0], [40.0, 30.0, 90.0, 90.0]])
    masks = torch.zeros(2, 96, 96, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    sample = DetDataSample(
        metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96), scale_factor=(1.0, 1.0))
    )
    sample.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.tensor([0, 1]), masks=BitmapMasks(masks.numpy(), 96, 96)
    )
    return dict(
        inputs=[torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)], data_samples=[sample]
    )


@pytest.mark.parametrize(
    'nms, dcn, amp',
    [
        (dict(type='nms', iou_threshold=0.5), None, False),
        (
            dict(type='soft_nms', iou_threshold=0.5, min_score=0.0),
            dict(type='DCNv2', deform_groups=1),
            False,
        ),
        (dict(type='nms', iou_threshold=0.5), dict(type='DCN', deform_groups=1), True),
    ],
    ids=['nms', 'soft_nms_dcnv2', 'dcn_amp'],
)
def test_mask_rcnn_trains_and_predicts(nms, dcn, amp):
    if 'convnext_dense' not in (ext.__file__ or ''):
        pytest.skip('this environment has a compiled mmcv')
    register_all_modules(init_default_scope=True)
    model = MODELS.build(mask_rcnn(nms, dcn)).train()
    batch = model.data_preprocessor(make_batch(), training=True)
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        losses = model(**batch, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite() and set(losses) >= {
        'loss_rpn_cls',
        'loss_cls',
        'loss_bbox',
        'loss_mask',
    }
    weights = [p for name, p in model.named_parameters() if name.endswith('weight')]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in weights)
    assert model.backbone.conv1.weight.grad.any()

    model.eval()
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=amp):
        result = model(**model.data_preprocessor(make_batch()), mode='predict')[0].pred_instances
    assert 0 < len(result) <= 10 and result.masks.shape[1:] == (96, 96)
    assert result.scores.equal(result.scores.sort(descending=True)[0])
