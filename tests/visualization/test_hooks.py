"""The hook that draws a detector's predictions, on samples such as mmdet returns them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData
from PIL import Image

from convnext_dense.visualization import DetectionPictureHook
from convnext_dense.visualization.hooks import make_objects


class Masks:
    """Like mmdet's masks: an array behind a method, indexed as a whole."""

    def __init__(self, array):
        self._array = array

    def __len__(self):
        return len(self._array)

    def __getitem__(self, index):
        return Masks(self._array[index])

    def to_ndarray(self):
        return self._array


class Boxes(list):
    """Like mmdet's boxes: a tensor behind an attribute."""

    def __init__(self, tensor):
        super().__init__(tensor)
        self.tensor = tensor


def make_sample(path, has_truth=True):
    labels = torch.tensor([0, 1])
    boxes = torch.tensor([[10.0, 10.0, 20.0, 20.0], [30.0, 20.0, 50.0, 30.0]])
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, 10:20, 10:20] = True
    masks[1, 20:30, 30:50] = True
    sample = BaseDataElement(metainfo=dict(img_path=str(path)))
    scores = torch.tensor([0.9, 0.3])
    sample.pred_instances = InstanceData(bboxes=boxes, labels=labels, masks=masks, scores=scores)
    if has_truth:
        sample.gt_instances = InstanceData(
            bboxes=Boxes(boxes), labels=labels, masks=Masks(masks.numpy().astype(np.uint8))
        )
    return sample


@pytest.fixture
def runner(tmp_path):
    for name in 'abc':
        Image.new('RGB', (60, 40), (100, 100, 100)).save(tmp_path / f'{name}.png')
    metainfo = dict(classes=('x', 'y'), palette=[(255, 0, 0), (0, 0, 255)])
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))
    work_dir = str(tmp_path / 'run')
    return SimpleNamespace(work_dir=work_dir, val_dataloader=loader, test_dataloader=loader)


def test_the_best_score_comes_last():
    objects = make_objects(make_sample('a.png').pred_instances)
    assert objects.labels.tolist() == [1, 0]
    assert objects.scores.tolist() == pytest.approx([0.3, 0.9])
    assert objects.boxes[1].tolist() == [10, 10, 20, 20]
    assert objects.masks.dtype == bool and objects.masks[1, 15, 15]


def test_instances_without_scores_and_masks():
    no_labels = torch.zeros(0, dtype=torch.long)
    objects = make_objects(InstanceData(bboxes=torch.zeros(0, 4), labels=no_labels))
    assert objects.scores is None and objects.masks is None
    assert objects.boxes.shape == (0, 4)


def test_draws_the_first_images(runner, tmp_path):
    hook = DetectionPictureHook(count=2)
    hook.after_val_iter(runner, 0, outputs=[make_sample(tmp_path / 'a.png')])
    hook.after_test_iter(runner, 1, outputs=[make_sample(tmp_path / 'b.png', has_truth=False)])
    hook.after_val_iter(runner, 2, outputs=[make_sample(tmp_path / 'c.png')])
    sizes = {}
    for path in (tmp_path / 'run' / 'pictures').iterdir():
        with Image.open(path) as picture:
            sizes[path.stem] = picture.size
    assert sizes == {'a': (3 * 480 + 12, 338), 'b': (2 * 480 + 6, 338)}


def test_objects_below_the_threshold_are_not_drawn(runner, tmp_path):
    hook = DetectionPictureHook(score_thr=0.5)
    hook.after_val_iter(runner, 0, outputs=[make_sample(tmp_path / 'a.png')])
    pixels = np.asarray(Image.open(tmp_path / 'run' / 'pictures' / 'a.png'))[18:]
    truth = pixels[:, 486:966]
    found = pixels[:, 972:]
    assert found[8 * 17, 8 * 18, 0] > 150  # score 0.9
    assert truth[8 * 25, 8 * 40, 2] > 150
    assert (found[8 * 25, 8 * 40] == 100).all()  # score 0.3
