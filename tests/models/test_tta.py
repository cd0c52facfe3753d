"""Test-time augmentation of detectors: boxes are merged as in mmdet, masks by a vote."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.models.test_time_augs import DetTTAModel as MMDetTTAModel
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch import nn

import convnext_dense  # noqa: F401  (before mmdet: it stands in for mmcv's compiled ops)
from convnext_dense.models.tta import DetTTAModel

HEIGHT = 20
WIDTH = 30
TTA_CFG = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
DIMS = {'horizontal': [-1], 'vertical': [-2], 'diagonal': [-2, -1]}


class Detector(nn.Module):
    """Stands for a detector; the tests give its predictions themselves."""

    def test_step(self, data):
        raise NotImplementedError


@pytest.fixture(scope='module')
def model():
    return DetTTAModel(module=Detector(), tta_cfg=TTA_CFG)


def mask_of(box):
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    x1, y1, x2, y2 = (int(v) for v in box)
    mask[y1:y2, x1:x2] = True
    return mask


def box_of(mask):
    y, x = mask.nonzero().T
    return torch.stack((x.min(), y.min(), x.max() + 1, y.max() + 1)).float()


def view(boxes, scores, labels, masks='boxes', flip=None):
    """The prediction for a flipped view; boxes and masks are given for the original image."""
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    pred = InstanceData(
        bboxes=boxes, scores=torch.tensor(scores), labels=torch.tensor(labels, dtype=torch.long)
    )
    if masks is not None:
        masks = [mask_of(box) for box in boxes] if isinstance(masks, str) else masks
        pred.masks = (
            torch.stack(masks) if len(masks) else torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool)
        )
        pred.masks = pred.masks.flip(DIMS[flip]) if flip else pred.masks
    if flip:
        x1, y1, x2, y2 = boxes.unbind(1)
        x1, x2 = (WIDTH - x2, WIDTH - x1) if flip in ('horizontal', 'diagonal') else (x1, x2)
        y1, y2 = (HEIGHT - y2, HEIGHT - y1) if flip in ('vertical', 'diagonal') else (y1, y2)
        pred.bboxes = torch.stack((x1, y1, x2, y2), 1)
    meta = dict(ori_shape=(HEIGHT, WIDTH), flip=bool(flip), flip_direction=flip)
    return DetDataSample(metainfo=meta, pred_instances=pred)


THREE = ([[2, 3, 10, 9], [4, 4, 12, 12], [20, 1, 29, 19]], [0.9, 0.8, 0.7], [0, 1, 0])


def assert_same(pred, expected):
    assert torch.equal(pred.bboxes, expected.bboxes) and torch.equal(pred.labels, expected.labels)
    assert torch.equal(pred.scores, expected.scores) and torch.equal(pred.masks, expected.masks)


@pytest.mark.parametrize('count', [1, 2, 5])
def test_equal_views_change_nothing(model, count):
    (merged,) = model.merge_preds([[view(*THREE) for _ in range(count)]])
    assert_same(merged.pred_instances, view(*THREE).pred_instances)


@pytest.mark.parametrize('flip', DIMS)
def test_a_flipped_view_is_flipped_back(model, flip):
    (merged,) = model.merge_preds([[view(*THREE, flip=flip)]])
    assert_same(merged.pred_instances, view(*THREE).pred_instances)
    for box, mask in zip(merged.pred_instances.bboxes, merged.pred_instances.masks, strict=True):
        assert torch.equal(box, box_of(mask))


def test_masks_are_voted_by_views_that_saw_the_same_object(model):
    wide = mask_of((2, 3, 10, 9))
    high = mask_of((2, 3, 9, 9))
    other = mask_of((20, 3, 28, 9))
    views = [
        view([[2, 3, 10, 9]], [0.9], [0], [wide]),
        view([[2, 3, 9, 9]], [0.5], [0], [high], flip='horizontal'),
        view([[2, 3, 9, 9], [20, 3, 28, 9]], [0.6, 0.3], [0, 0], [high, other]),
        view([[2, 3, 10, 9]], [0.8], [1], [wide]),  # another class: kept, but has no vote
    ]
    (merged,) = model.merge_preds([views])
    pred = merged.pred_instances
    assert pred.labels.tolist() == [0, 1, 0]
    assert pred.scores.tolist() == pytest.approx([0.9, 0.8, 0.3])
    assert torch.equal(pred.masks[0], high)  # 0.5 + 0.6 against 0.9
    assert torch.equal(pred.masks[1], wide) and torch.equal(pred.masks[2], other)
    (merged,) = model.merge_preds([views[:2]])
    assert torch.equal(merged.pred_instances.masks[0], wide)  # 0.9 against 0.5


@pytest.mark.parametrize('flip', [None, *DIMS])
def test_models_without_boxes_are_merged_by_their_masks(model, flip):
    """SOLO and SOLOv2 return zeros as boxes."""
    views = [view(*THREE), view(*THREE, flip=flip)]
    for sample in views:
        sample.pred_instances.bboxes.zero_()
    (merged,) = model.merge_preds([views])
    assert_same(merged.pred_instances, view(*THREE).pred_instances)
    empty = view(
        [[0, 0, 0, 0], [0, 0, 0, 0]],
        [0.9, 0.8],
        [0, 0],
        [mask_of((0, 0, 0, 0)), mask_of((2, 3, 10, 9))],
    )
    (merged,) = model.merge_preds([[empty]])
    assert merged.pred_instances.bboxes.tolist() == [[0, 0, 0, 0], [2, 3, 10, 9]]


def test_boxes_equal_mmdet():
    generator = torch.Generator().manual_seed(0)
    views = []
    plain = []
    for flip in (None, 'horizontal', 'vertical', None):
        corner = torch.rand(40, 2, generator=generator) * 12
        boxes = torch.cat(
            (corner, corner + 2 + 6 * torch.rand(40, 2, generator=generator)), 1
        ).tolist()
        scores = torch.rand(40, generator=generator).tolist()
        labels = torch.randint(0, 3, (40,), generator=generator).tolist()
        views.append(view(boxes, scores, labels, flip=flip))
        plain.append(view(boxes, scores, labels, masks=None, flip=flip))
    cfg = ConfigDict(TTA_CFG, max_per_img=30)
    ours = DetTTAModel(Detector(), cfg).merge_preds([views])[0].pred_instances
    theirs = MMDetTTAModel(module=Detector(), tta_cfg=cfg).merge_preds([plain])[0].pred_instances
    assert len(ours) == 30 and torch.equal(ours.labels, theirs.labels)
    torch.testing.assert_close(ours.bboxes, theirs.bboxes)
    torch.testing.assert_close(ours.scores, theirs.scores)


def test_without_masks_and_without_detections(model):
    (merged,) = model.merge_preds([[view(*THREE, masks=None)] * 2])
    assert 'masks' not in merged.pred_instances and len(merged.pred_instances) == 3
    (merged,) = model.merge_preds([[view([], [], []), view([], [], [], flip='horizontal')]])
    assert merged.pred_instances.masks.shape == (0, HEIGHT, WIDTH)
    (merged,) = model.merge_preds(
        [[view([], [], []), view([[5, 5, 5, 9]], [0.5], [0], flip='horizontal')]]
    )
    # A box without area overlaps nothing, not even itself.
    assert merged.pred_instances.masks.shape == (1, HEIGHT, WIDTH)


def test_errors_say_what_to_write(model):
    for wrong in (
        dict(max_per_img=9),
        dict(nms=dict(type='soft_nms', iou_threshold=0.5), max_per_img=9),
        {},
    ):
        with pytest.raises(ValueError, match="nms=dict\\(type='nms'"):
            DetTTAModel(Detector(), wrong)
    sample = view(*THREE)
    sample.pop('flip')
    with pytest.raises(ValueError, match=r"\['flip'\].*meta_keys"):
        model.merge_preds([[sample]])
    with pytest.raises(ValueError, match='some views'):
        model.merge_preds([[view(*THREE), view(*THREE, masks=None)]])


class PaintedDetector(nn.Module):
    """Stands for a detector: finds the bright rectangle, in the size of the original image."""

    def test_step(self, data):
        samples = []
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            channel = image[None, :1].float()
            resized = nn.functional.interpolate(channel, sample.ori_shape, mode='area')[0, 0]
            mask = resized > 127
            boxes = box_of(mask)[None]
            sample.pred_instances = InstanceData(
                bboxes=boxes, scores=torch.tensor([0.9]), labels=torch.tensor([0]), masks=mask[None]
            )
            samples.append(sample)
        return samples


def test_the_views_of_the_coco_config_agree():
    """All six views of the config agree on a rectangle that is not in the middle of the image."""
    from mmcv.transforms import Compose
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'coco.py')
    truth = torch.zeros(100, 150, dtype=torch.bool)
    truth[10:40, 20:80] = True
    load, augment = cfg.tta_pipeline
    load.type = 'LoadImageFromNDArray'
    augment.transforms.pop(2)  # loads the ground truth
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        pipeline = Compose(cfg.tta_pipeline)
        tta = MODELS.build(dict(cfg.tta_model, module=PaintedDetector()))
    image = np.repeat(truth.numpy()[..., None] * np.uint8(255), 3, 2)
    batch = pseudo_collate([pipeline(dict(img=image, img_id=0, img_path=''))])
    assert len(batch['inputs']) == 6
    pred = tta.test_step(batch)[0].pred_instances
    assert pred.bboxes.tolist() == [[20, 10, 80, 40]] and torch.equal(pred.masks[0], truth)
