"""ConvNeXt in configs that mmdet ships: a training step and prediction without compiled ops."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

SIZE = 128
# Deprecations inside mmdet and mmcv: renamed arguments, and old calls of torch.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{text}')
    for text in (
        '"(dropout|add_residual)" is deprecated in `FFN',
        'The arguments `dropout` in MultiheadAttention',
        'torch.meshgrid',
        'To copy construct from a tensor',
        '.*`num_anchors` is deprecated',
        '`torch.cuda.amp.autocast',
    )
]
# To save time: no padding to 1024 px, no random sizes, fewer layers, queries, regions and cells.
# A two-stage DETR cannot choose more queries than its feature maps have pixels, here 340.
NO_AUGMENT = {'model.data_preprocessor.batch_augments': None}
DETR = {'model.encoder.num_layers': 1, 'model.decoder.num_layers': 2}
FEW_QUERIES = DETR | {'model.num_queries': 30}
MASK2FORMER = NO_AUGMENT | {
    'model.panoptic_head.pixel_decoder.encoder.num_layers': 1,
    'model.panoptic_head.transformer_decoder.num_layers': 2,
    'model.panoptic_head.num_queries': 20,
    'model.train_cfg.num_points': 512,
}
FEW = {'model.test_cfg.rpn.max_per_img': 50, 'model.test_cfg.rcnn.max_per_img': 10}
RCNN = FEW | {'model.train_cfg.rcnn.sampler.num': 32}
CASCADE = FEW | {f'model.train_cfg.rcnn.{stage}.sampler.num': 32 for stage in range(3)}
SOLO = {'model.mask_head.num_grids': [10, 9, 8, 6, 4]}
QUICK = ('Mask R-CNN', 'RTMDet', 'DINO')
SEGMENT = ('Mask R-CNN', 'Cascade Mask R-CNN', 'RTMDet-Ins', 'SOLOv2', 'Mask2Former')
WORK = [
    ('Mask R-CNN', 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', RCNN),
    ('Cascade Mask R-CNN', 'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py', CASCADE),
    ('Faster R-CNN', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', RCNN),
    ('RetinaNet', 'retinanet/retinanet_r50_fpn_1x_coco.py', {}),
    ('FCOS', 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', {}),
    ('ATSS', 'atss/atss_r50_fpn_1x_coco.py', {}),
    ('RTMDet', 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py', NO_AUGMENT),
    ('RTMDet-Ins', 'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py', NO_AUGMENT),
    ('SOLOv2', 'solov2/solov2_r50_fpn_1x_coco.py', SOLO),
    ('Mask2Former', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', MASK2FORMER),
    ('DINO', 'dino/dino-4scale_r50_8xb2-12e_coco.py', FEW_QUERIES),
    ('Deformable DETR', 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', FEW_QUERIES),
    ('DETR', 'detr/detr_r50_8xb2-150e_coco.py', DETR),
    ('YOLOX', 'yolox/yolox_s_8xb8-300e_coco.py', NO_AUGMENT),
    ('YOLOv3', 'yolo/yolov3_d53_8xb8-320-273e_coco.py', NO_AUGMENT),
    ('YOLOF', 'yolof/yolof_r50-c5_8xb8-1x_coco.py', {}),
]
CANNOT = [
    ('Faster R-CNN C4', 'faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py'),
    ('SSD', 'ssd/ssd300_coco.py'),
    ('CornerNet', 'cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py'),
]


def make_batch(with_masks):
    """Two images with two objects each: boxes, labels and, if the config loads them, masks."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for shift in (0, 16):
        boxes = torch.tensor([[8.0, 8.0, 60.0, 50.0], [40.0, 30.0, 110.0, 110.0]]) + shift
        masks = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(SIZE, SIZE),
                ori_shape=(SIZE, SIZE),
                scale_factor=(1.0, 1.0),
                batch_input_shape=(SIZE, SIZE),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=boxes.clamp(max=SIZE), labels=torch.tensor([0, 17])
        )
        if with_masks:
            sample.gt_instances.masks = BitmapMasks(masks.numpy(), SIZE, SIZE)
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    images = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    return dict(inputs=list(images), data_samples=samples)


@pytest.mark.parametrize(
    'method, path, shrink',
    [
        pytest.param(*case, id=case[0], marks=() if case[0] in QUICK else pytest.mark.slow)
        for case in WORK
    ],
)
def test_trains_and_predicts(run_shipped, method, path, shrink):
    with_masks = method in SEGMENT
    for sample in run_shipped('mmdet', method, path, shrink, lambda: make_batch(with_masks)):
        found = sample.pred_instances
        assert found.scores.isfinite().all()
        assert found.bboxes.shape == (len(found), 4)
        assert ('masks' in found) == with_masks
        if with_masks:
            assert found.masks.shape[1:] == (SIZE, SIZE)


@pytest.mark.slow
@pytest.mark.parametrize('method, path', CANNOT, ids=[case[0] for case in CANNOT])
def test_says_why_not(refuse_shipped, method, path):
    refuse_shipped('mmdet', method, path)


def test_docs_list_these_methods(listed):
    assert sorted(listed('mmdet')) == sorted(case[0] for case in WORK + CANNOT)


def test_backbone_and_in_channels_alone(swap_by_hand):
    """By hand all feature maps are built, and the norm of the unused one gets no gradient."""
    idle = swap_by_hand(
        'mmdet',
        'retinanet/retinanet_r50_fpn_1x_coco.py',
        {'model.neck.in_channels': [40, 80, 160, 320]},
        lambda: make_batch(False),
    )
    assert idle == ['norm0.weight', 'norm0.bias']
