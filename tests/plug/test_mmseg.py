"""ConvNeXt in configs that mmseg ships: a training step and prediction without compiled ops."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

# Deprecations inside mmseg and mmcv: renamed arguments, and a function of mmseg.
pytestmark = [
    pytest.mark.filterwarnings(f'ignore:{text}')
    for text in (
        '``build_pixel_sampler`` would be deprecated',
        '"(dropout|add_residual)" is deprecated in `FFN',
        'The arguments `dropout` in MultiheadAttention',
    )
]
SIZE = 64
CLASSES = 19  # Cityscapes has the fewest of the configs' data sets
# To save time: images of 64 px instead of 512, fewer layers, queries and points.
SMALL = {'model.data_preprocessor.size': (SIZE, SIZE)}
MASK2FORMER = SMALL | {
    'model.decode_head.pixel_decoder.encoder.num_layers': 1,
    'model.decode_head.transformer_decoder.num_layers': 2,
    'model.decode_head.num_queries': 20,
    'model.decode_head.train_cfg.num_points': 512,
}
POINT_REND = SMALL | {'model.train_cfg.num_points': 64, 'model.test_cfg.subdivision_num_points': 64}
QUICK = ('UPerNet', 'DeepLabV3+', 'OCRNet')
WORK = [
    ('UPerNet', 'upernet/upernet_r50_4xb4-160k_ade20k-512x512.py', SMALL),
    ('FCN', 'fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py', SMALL),
    ('PSPNet', 'pspnet/pspnet_r50-d8_4xb4-160k_ade20k-512x512.py', SMALL),
    ('DeepLabV3+', 'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py', SMALL),
    (
        'DeepLabV3+ d16',
        'deeplabv3plus/deeplabv3plus_r101-d16-mg124_4xb2-80k_cityscapes-512x1024.py',
        SMALL,
    ),
    ('SegFormer', 'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', SMALL),
    ('Semantic FPN', 'sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py', SMALL),
    ('Mask2Former', 'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py', MASK2FORMER),
    ('OCRNet', 'ocrnet/ocrnet_r101-d8_8xb2-40k_cityscapes-512x1024.py', SMALL),
    ('OCRNet HRNet', 'ocrnet/ocrnet_hr18_4xb4-160k_ade20k-512x512.py', SMALL),
    ('PointRend', 'point_rend/pointrend_r50_4xb4-160k_ade20k-512x512.py', POINT_REND),
    ('K-Net', 'knet/knet-s3_r50-d8_upernet_8xb2-adamw-80k_ade20k-512x512.py', SMALL),
]
CANNOT = [
    ('U-Net', 'unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py'),
    ('BiSeNetV2', 'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py'),
    ('ICNet', 'icnet/icnet_r50-d8_4xb2-80k_cityscapes-832x832.py'),
    ('FastFCN', 'fastfcn/fastfcn_r50-d32_jpu_psp_4xb4-80k_ade20k-512x512.py'),
    ('SETR', 'setr/setr_vit-l-mla_8xb1-160k_ade20k-512x512.py'),
]


def make_batch():
    """Two images with two regions each and a strip that is ignored."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for label in (3, 7):
        truth = torch.full((1, SIZE, SIZE), label)
        truth[:, 20:44] = CLASSES - 1
        truth[:, :4] = 255
        sample = SegDataSample(
            metainfo=dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE), pad_shape=(SIZE, SIZE))
        )
        sample.gt_sem_seg = PixelData(data=truth)
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
    for sample in run_shipped('mmseg', method, path, shrink, make_batch):
        labels = sample.pred_sem_seg.data
        assert labels.shape == (1, SIZE, SIZE)
        assert labels.min() >= 0
        assert labels.max() < 150


@pytest.mark.slow
@pytest.mark.parametrize('method, path', CANNOT, ids=[case[0] for case in CANNOT])
def test_says_why_not(refuse_shipped, method, path):
    refuse_shipped('mmseg', method, path)


def test_docs_list_these_methods(listed):
    assert sorted(listed('mmseg')) == sorted(case[0] for case in WORK + CANNOT)


def test_backbone_and_in_channels_alone(swap_by_hand):
    """By hand all feature maps are built, and the norms of unused ones get no gradient."""
    changes = {
        'model.decode_head.in_channels': 320,
        'model.auxiliary_head.in_channels': 160,
        'model.pretrained': None,
    }
    idle = swap_by_hand(
        'mmseg', 'pspnet/pspnet_r50-d8_4xb4-160k_ade20k-512x512.py', changes | SMALL, make_batch
    )
    assert idle == ['norm0.weight', 'norm0.bias', 'norm1.weight', 'norm1.bias']
