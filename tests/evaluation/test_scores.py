"""Scores of a test run: against pycocotools itself, against numbers worked out by hand, as table and JSON."""

import contextlib
import io
import json
from importlib import import_module

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import METRICS, DefaultScope
from pycocotools import mask as rle
from rich.console import Console

import convnext_dense  # noqa: F401  (before mmdet and mmseg: it stands in for mmcv's compiled ops)
from convnext_dense.evaluation.class_ap import score_coco_classes
from convnext_dense.evaluation.scores import print_scores, run_test, score_areas, write_scores


class Run:
    """What run_test needs of a runner: the config, the metrics, and a test that feeds them."""

    def __init__(self, scope, cfg, samples, classes, work_dir):
        import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)
        with DefaultScope.overwrite_default_scope(scope):
            metric = METRICS.build(cfg)
        metric.dataset_meta = dict(classes=classes)
        self.cfg, self.work_dir, self._samples = (
            ConfigDict(test_evaluator=cfg),
            str(work_dir),
            samples,
        )
        self.test_evaluator = ConfigDict(metrics=[metric])

    def test(self):
        (metric,) = self.test_evaluator.metrics
        metric.process({}, self._samples)
        return metric.evaluate(len(self._samples))


# Two images of 2 x 4 pixels, classes a, b, c; 255 counts nowhere. c is neither there nor predicted.
#   truth   a a b b    prediction   a b b b        truth   b b a 255    prediction   b b b b
#           a a b b                 a a b b                b b a 255                 b a a a
# a: intersection 3 + 1, union 4 + 3, label 4 + 2     b: intersection 4 + 3, union 5 + 5, label 4 + 4
TRUTHS = [[[0, 0, 1, 1], [0, 0, 1, 1]], [[1, 1, 0, 255], [1, 1, 0, 255]]]
PREDICTIONS = [[[0, 1, 1, 1], [0, 0, 1, 1]], [[1, 1, 1, 1], [1, 0, 0, 0]]]


def segmentation_run(tmp_path):
    samples = [
        dict(
            gt_sem_seg=dict(data=torch.tensor([truth])),
            pred_sem_seg=dict(data=torch.tensor([prediction])),
        )
        for truth, prediction in zip(TRUTHS, PREDICTIONS, strict=True)
    ]
    return Run(
        'mmseg', dict(type='IoUMetric', iou_metrics=['mIoU']), samples, ('a', 'b', 'c'), tmp_path
    )


def test_miou_by_hand(tmp_path):
    scores = run_test(segmentation_run(tmp_path), per_class=True)
    assert scores['classes']['a'] == dict(
        IoU=pytest.approx(100 * 4 / 7), Acc=pytest.approx(100 * 4 / 6)
    )
    assert scores['classes']['b'] == dict(
        IoU=pytest.approx(100 * 7 / 10), Acc=pytest.approx(100 * 7 / 8)
    )
    assert scores['classes']['c'] == dict(IoU=None, Acc=None)
    mean = (100 * 4 / 7 + 100 * 7 / 10) / 2  # over the classes that are there
    assert scores['metrics'] == dict(
        aAcc=round(100 * 11 / 14, 2),
        mIoU=pytest.approx(mean, abs=0.005),
        mAcc=pytest.approx(77.08, abs=0.005),
    )
    assert run_test(segmentation_run(tmp_path))['classes'] == {}


def test_areas_by_hand():
    assert score_areas([1, 0], [4, 0], [2, 0], 'xy') == dict(
        x=dict(IoU=25.0, Acc=50.0), y=dict(IoU=None, Acc=None)
    )


def make_mask(box, size=100):
    x, y, w, h = box
    mask = np.zeros((size, size), dtype=np.uint8, order='F')
    mask[y : y + h, x : x + w] = 1
    return mask


BOXES = {
    1: [(10, 10, 20, 20), (50, 50, 40, 40)],
    2: [(60, 5, 30, 30)],
}  # xywh in image 1, by category id
# found: xywh, category id, score. Of two boxes of category 1, one exact and one with IoU 0.6; a false one before them.
FOUND = [
    ((10, 50, 20, 20), 1, 0.9),
    ((10, 10, 20, 20), 1, 0.8),
    ((50, 50, 40, 24), 1, 0.7),
    ((60, 5, 30, 30), 2, 0.6),
]


@pytest.fixture
def ann_file(tmp_path):
    annotations = [
        dict(
            id=i,
            image_id=1,
            category_id=category,
            bbox=list(box),
            area=box[2] * box[3],
            iscrowd=0,
            segmentation=[
                [
                    box[0],
                    box[1],
                    box[0] + box[2],
                    box[1],
                    box[0] + box[2],
                    box[1] + box[3],
                    box[0],
                    box[1] + box[3],
                ]
            ],
        )
        for i, (category, box) in enumerate(
            [(c, box) for c, boxes in BOXES.items() for box in boxes], 1
        )
    ]
    path = tmp_path / 'truth.json'
    path.write_text(
        json.dumps(
            dict(
                info={},
                images=[dict(id=1, width=100, height=100, file_name='1.jpg')],
                annotations=annotations,
                categories=[dict(id=1, name='cat'), dict(id=2, name='dog'), dict(id=3, name='emu')],
            )
        )
    )
    return path


def detection_run(ann_file, tmp_path, found=FOUND):
    boxes = torch.tensor(
        [[x, y, x + w, y + h] for (x, y, w, h), _, _ in found], dtype=torch.float32
    ).reshape(-1, 4)
    pred = dict(
        bboxes=boxes,
        scores=torch.tensor([score for *_, score in found]),
        labels=torch.tensor([category - 1 for _, category, _ in found], dtype=torch.long),
        masks=torch.from_numpy(
            np.array([make_mask(box) for box, *_ in found]).reshape(-1, 100, 100)
        ).bool(),
    )
    samples = [dict(img_id=1, ori_shape=(100, 100), pred_instances=pred)]
    cfg = dict(type='CocoMetric', ann_file=str(ann_file), metric=['bbox', 'segm'])
    return Run('mmdet', cfg, samples, ('cat', 'dog', 'emu'), tmp_path)


def test_ap_is_that_of_pycocotools_and_of_the_hand(ann_file, tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    scores = run_test(detection_run(ann_file, tmp_path), per_class=True)
    results = [
        dict(image_id=1, category_id=category, bbox=list(box), score=score)
        for box, category, score in FOUND
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(ann_file))
        evaluation = COCOeval(truth, truth.loadRes(results), 'bbox')
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    for name, value in zip(('mAP', 'mAP_50', 'mAP_75'), evaluation.stats):
        assert scores['metrics'][f'coco/bbox_{name}'] == pytest.approx(value, abs=6e-4)
    cat, dog = scores['classes']['cat'], scores['classes']['dog']
    for kind in ('box', 'mask'):
        # IoU 0.5 to 0.6: both found, precisions 1/2 and 2/3 with their hull 2/3; above: one, 1/2 up to recall 0.5
        assert cat[f'{kind} AP50'] == pytest.approx(101 * 2 / 3 / 101)
        assert cat[f'{kind} AP75'] == pytest.approx(51 * 1 / 2 / 101)
        assert dog[f'{kind} AP'] == pytest.approx(1.0)
    mean = np.mean([cat['box AP'], dog['box AP']])
    assert mean == pytest.approx(evaluation.stats[0])
    assert set(scores['classes']['emu'].values()) == {None}


def test_box_and_mask_scores_stay_apart(ann_file, tmp_path):
    """mmdet's classwise scores have one name for both; here masks are wrong and boxes right."""
    results = [
        dict(
            image_id=1,
            category_id=category,
            bbox=list(box),
            score=score,
            segmentation={
                **(code := rle.encode(make_mask((0, 0, 5, 5)))),
                'counts': code['counts'].decode(),
            },
        )
        for box, category, score in FOUND
    ]
    path = tmp_path / 'found.json'
    path.write_text(json.dumps(results))
    assert score_coco_classes(ann_file, path, 'bbox')['dog']['AP'] == pytest.approx(1.0)
    assert score_coco_classes(ann_file, path, 'segm', ['dog']) == {
        'dog': dict(AP=0.0, AP50=0.0, AP75=0.0, APs=0.0, APm=None, APl=None)
    }  # 30 x 30 pixels
    with pytest.raises(ValueError, match='has no class fox; it has cat, dog, emu'):
        score_coco_classes(ann_file, path, 'bbox', ['fox'])
    with pytest.raises(ValueError, match="got 'keypoints'"):
        score_coco_classes(ann_file, path, 'keypoints')


def test_crowded_images_score_by_class_as_a_whole(ann_file, tmp_path):
    """mmdet counts the best 100 detections in AP and 1,000 in AP50; 120 objects of one class here, all found."""
    truth = json.loads(ann_file.read_text())
    boxes = [(9 * (i % 11), 9 * (i // 11), 8, 8) for i in range(120)]
    truth['annotations'] = [
        dict(
            id=i,
            image_id=1,
            category_id=1,
            bbox=list(box),
            area=64,
            iscrowd=0,
            segmentation=[[0, 0, 8, 0, 8, 8]],
        )
        for i, box in enumerate(boxes, 1)
    ]
    ann_file.write_text(json.dumps(truth))
    scores = run_test(
        detection_run(ann_file, tmp_path, [(box, 1, 0.5) for box in boxes]), per_class=True
    )
    cat, metrics = scores['classes']['cat'], scores['metrics']
    assert cat['box AP50'] == metrics['coco/bbox_mAP_50'] == 1.0
    assert cat['box AP'] == pytest.approx(84 / 101) and metrics['coco/bbox_mAP'] == pytest.approx(
        84 / 101, abs=6e-4
    )
    assert cat['box APs'] == metrics['coco/bbox_mAP_s']


def test_nothing_found_scores_zero(ann_file, tmp_path):
    scores = run_test(detection_run(ann_file, tmp_path, found=[]), per_class=True)
    assert (
        scores['classes']['cat']['mask AP'] == 0.0 and scores['classes']['emu']['mask AP'] is None
    )


def test_json_and_tables(ann_file, tmp_path):
    scores = run_test(detection_run(ann_file, tmp_path), per_class=True)
    path = tmp_path / 'new' / 'scores.json'
    write_scores(scores, path, 'configs/a.py', 'a.pth', tta=True)
    record = json.loads(path.read_text())
    assert (
        record['config'] == 'configs/a.py'
        and record['checkpoint'] == 'a.pth'
        and record['tta'] is True
    )
    assert record['date'].endswith('+00:00') and record['metrics'] == scores['metrics']
    assert (
        record['classes'] == scores['classes'] and record['metrics']['coco/bbox_mAP_75'] is not None
    )
    console = Console(file=io.StringIO(), width=100)
    print_scores(scores, console)
    print_scores(dict(metrics=dict(mIoU=63.636, aAcc=None), classes={}), console)
    lines = console.file.getvalue().splitlines()
    assert any(
        'box' in line and f'{100 * scores["metrics"]["coco/bbox_mAP"]:.2f}' in line
        for line in lines
    )
    assert any('dog' in line and line.count('100.00') == 6 for line in lines)
    assert any('emu' in line and line.count(' - ') == 6 for line in lines)
    assert any('mIoU' in line and '63.64' in line for line in lines)
