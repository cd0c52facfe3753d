"""Scores of a test run: against pycocotools, against numbers by hand, as table and JSON."""

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
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console

import convnext_dense  # noqa: F401  (before mmdet and mmseg: it stands in for mmcv's compiled ops)
from convnext_dense.evaluation.class_ap import score_coco_classes
from convnext_dense.evaluation.scores import Scores, run_test, write_scores
from convnext_dense.evaluation.tables import print_scores


class FakeRunner:
    """The parts of a runner that ``run_test`` uses: config, metrics, and a test that feeds them."""

    def __init__(self, scope, cfg, samples, classes, work_dir):
        import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)
        with DefaultScope.overwrite_default_scope(scope):
            metric = METRICS.build(cfg)
        metric.dataset_meta = dict(classes=classes)
        self.cfg = ConfigDict(test_evaluator=cfg)
        self.work_dir = str(work_dir)
        self.test_evaluator = ConfigDict(metrics=[metric])
        self._samples = samples

    def test(self):
        values = {}
        for metric in self.test_evaluator.metrics:
            metric.process({}, self._samples)
            values.update(metric.evaluate(len(self._samples)))
        return values


# Two images of 2 x 4 pixels, classes a, b, c; 255 is ignored. c is neither there nor predicted.
#   truth   a a b b    prediction   a b b b        truth   b b a 255    prediction   b b b b
#           a a b b                 a a b b                b b a 255                 b a a a
# a: intersection 3 + 1, union 4 + 3, truth 4 + 2
# b: intersection 4 + 3, union 5 + 5, truth 4 + 4
TRUTHS = [[[0, 0, 1, 1], [0, 0, 1, 1]], [[1, 1, 0, 255], [1, 1, 0, 255]]]
PREDICTIONS = [[[0, 1, 1, 1], [0, 0, 1, 1]], [[1, 1, 1, 1], [1, 0, 0, 0]]]


@pytest.fixture
def segmentation(tmp_path):
    samples = []
    for truth, prediction in zip(TRUTHS, PREDICTIONS, strict=True):
        samples.append(
            dict(
                gt_sem_seg=dict(data=torch.tensor([truth])),
                pred_sem_seg=dict(data=torch.tensor([prediction])),
            )
        )
    cfg = dict(type='IoUMetric', iou_metrics=['mIoU'])
    return FakeRunner('mmseg', cfg, samples, ('a', 'b', 'c'), tmp_path)


def test_iou_by_hand(segmentation):
    scores = run_test(segmentation, per_class=True)
    assert scores.classes['a'] == pytest.approx(dict(IoU=100 * 4 / 7, Acc=100 * 4 / 6))
    assert scores.classes['b'] == pytest.approx(dict(IoU=100 * 7 / 10, Acc=100 * 7 / 8))
    assert scores.classes['c'] == dict(IoU=None, Acc=None)
    # The means are over the classes that are there.
    expected = dict(aAcc=100 * 11 / 14, mIoU=(400 / 7 + 70) / 2, mAcc=(400 / 6 + 700 / 8) / 2)
    assert scores.metrics == pytest.approx(expected, abs=0.005)


def test_classes_are_scored_only_on_request(segmentation):
    assert run_test(segmentation).classes == {}


def test_the_evaluator_is_left_as_it_was(segmentation):
    run_test(segmentation, per_class=True)
    assert len(segmentation.test_evaluator.metrics) == 1


BOXES = {1: [(10, 10, 20, 20), (50, 50, 40, 40)], 2: [(60, 5, 30, 30)]}  # {category: [xywh]}
# Found: xywh, category, score. Category 1 has a false detection with the highest score, then an
# exact one, then one with IoU 0.6.
FOUND = [
    ((10, 50, 20, 20), 1, 0.9),
    ((10, 10, 20, 20), 1, 0.8),
    ((50, 50, 40, 24), 1, 0.7),
    ((60, 5, 30, 30), 2, 0.6),
]


def make_mask(box, size=100):
    x, y, w, h = box
    mask = np.zeros((size, size), dtype=np.uint8, order='F')
    mask[y : y + h, x : x + w] = 1
    return mask


def make_annotation(number, category, box):
    x, y, w, h = box
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return dict(
        id=number,
        image_id=1,
        category_id=category,
        bbox=list(box),
        area=w * h,
        iscrowd=0,
        segmentation=[polygon],
    )


def write_truth(path, boxes):
    annotations = []
    for category, boxes_of_category in boxes.items():
        for box in boxes_of_category:
            annotations.append(make_annotation(len(annotations) + 1, category, box))
    names = ('cat', 'dog', 'emu')
    truth = dict(
        info={},
        images=[dict(id=1, width=100, height=100, file_name='1.jpg')],
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in enumerate(names, 1)],
    )
    path.write_text(json.dumps(truth))
    return path


@pytest.fixture
def ann_file(tmp_path):
    return write_truth(tmp_path / 'truth.json', BOXES)


def make_detection(ann_file, found=FOUND):
    corners = [[x, y, x + w, y + h] for (x, y, w, h), _, _ in found]
    masks = np.array([make_mask(box) for box, _, _ in found]).reshape(-1, 100, 100)
    pred = dict(
        bboxes=torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor([score for _, _, score in found]),
        labels=torch.tensor([category - 1 for _, category, _ in found], dtype=torch.long),
        masks=torch.from_numpy(masks).bool(),
    )
    samples = [dict(img_id=1, ori_shape=(100, 100), pred_instances=pred)]
    cfg = dict(type='CocoMetric', ann_file=str(ann_file), metric=['bbox', 'segm'])
    return FakeRunner('mmdet', cfg, samples, ('cat', 'dog', 'emu'), ann_file.parent)


def test_ap_by_hand(ann_file):
    classes = run_test(make_detection(ann_file), per_class=True).classes
    for kind in ('box', 'mask'):
        # IoU 0.5 to 0.6: both found at precisions 1/2 and 2/3, whose envelope is 2/3.
        assert classes['cat'][f'{kind} AP50'] == pytest.approx(2 / 3)
        # IoU above 0.6: one found, precision 1/2 up to recall 0.5.
        assert classes['cat'][f'{kind} AP75'] == pytest.approx(51 / 101 / 2)
        assert classes['dog'][f'{kind} AP'] == pytest.approx(1.0)
    assert set(classes['emu'].values()) == {None}


def test_ap_equals_pycocotools(ann_file):
    scores = run_test(make_detection(ann_file), per_class=True)
    results = []
    for box, category, score in FOUND:
        results.append(dict(image_id=1, category_id=category, bbox=list(box), score=score))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(ann_file))
        evaluation = COCOeval(truth, truth.loadRes(results), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    for name, value in zip(('mAP', 'mAP_50', 'mAP_75'), evaluation.stats, strict=False):
        assert scores.metrics[f'coco/bbox_{name}'] == pytest.approx(value, abs=6e-4)
    mean = (scores.classes['cat']['box AP'] + scores.classes['dog']['box AP']) / 2
    assert mean == pytest.approx(evaluation.stats[0])


@pytest.fixture
def result_file(tmp_path):
    """Right boxes with wrong masks."""
    mask = rle.encode(make_mask((0, 0, 5, 5)))
    mask['counts'] = mask['counts'].decode()
    results = []
    for box, category, score in FOUND:
        result = dict(image_id=1, category_id=category, bbox=list(box), score=score)
        results.append(dict(result, segmentation=mask))
    path = tmp_path / 'found.json'
    path.write_text(json.dumps(results))
    return path


def test_box_and_mask_scores_stay_apart(ann_file, result_file):
    boxes = score_coco_classes(ann_file, result_file, 'bbox')
    assert boxes['dog']['AP'] == pytest.approx(1.0)
    masks = score_coco_classes(ann_file, result_file, 'segm', ['dog'])
    # The only object has 30 x 30 pixels: it is small, there is none of the other sizes.
    assert masks == {'dog': dict(AP=0.0, AP50=0.0, AP75=0.0, APs=0.0, APm=None, APl=None)}


def test_unknown_class_or_kind_raises(ann_file, result_file):
    with pytest.raises(ValueError, match='has no class fox; it has cat, dog, emu'):
        score_coco_classes(ann_file, result_file, 'bbox', ['fox'])
    with pytest.raises(ValueError, match="got 'keypoints'"):
        score_coco_classes(ann_file, result_file, 'keypoints')


def test_crowded_images_are_scored_like_mmdet(tmp_path):
    """AP counts the best 100 detections, AP50 the best 1,000; here all of 120 are found."""
    boxes = [(9 * (i % 11), 9 * (i // 11), 8, 8) for i in range(120)]
    ann_file = write_truth(tmp_path / 'truth.json', {1: boxes})
    found = [(box, 1, 0.5) for box in boxes]
    scores = run_test(make_detection(ann_file, found), per_class=True)
    cat = scores.classes['cat']
    assert cat['box AP50'] == scores.metrics['coco/bbox_mAP_50'] == 1.0
    assert cat['box AP'] == pytest.approx(84 / 101)
    assert scores.metrics['coco/bbox_mAP'] == pytest.approx(84 / 101, abs=6e-4)
    assert cat['box APs'] == scores.metrics['coco/bbox_mAP_s']


def test_nothing_found_scores_zero(ann_file):
    classes = run_test(make_detection(ann_file, found=[]), per_class=True).classes
    assert classes['cat']['mask AP'] == 0.0
    assert classes['emu']['mask AP'] is None


def test_json(tmp_path):
    scores = Scores({'mIoU': 63.6, 'aAcc': None}, {'a': {'IoU': None}})
    path = tmp_path / 'new' / 'scores.json'
    write_scores(scores, path, 'configs/a.py', 'a.pth', tta=True)
    record = json.loads(path.read_text())
    assert record.pop('date').endswith('+00:00')
    assert record == dict(
        config='configs/a.py',
        checkpoint='a.pth',
        tta=True,
        metrics={'mIoU': 63.6, 'aAcc': None},
        classes={'a': {'IoU': None}},
    )


def print_lines(scores):
    console = Console(file=io.StringIO(), width=100)
    print_scores(scores, console)
    return console.file.getvalue().splitlines()


def test_tables_of_a_detector(ann_file):
    scores = run_test(make_detection(ann_file), per_class=True)
    lines = print_lines(scores)
    box_ap = f'{100 * scores.metrics["coco/bbox_mAP"]:.2f}'
    assert any('box' in line and box_ap in line for line in lines)
    assert any('dog' in line and line.count('100.00') == 6 for line in lines)
    assert any('emu' in line and line.count(' - ') == 6 for line in lines)


def test_tables_of_a_segmentor():
    lines = print_lines(Scores({'mIoU': 63.636, 'aAcc': None}, {'a': {'IoU': 12.345}}))
    assert any('mIoU' in line and '63.64' in line for line in lines)
    assert any('aAcc' in line and ' - ' in line for line in lines)
    assert any('a' in line and '12.3' in line for line in lines)
