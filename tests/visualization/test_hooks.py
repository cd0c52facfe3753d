"""The hook that draws what a detector finds, on the samples that mmdet hands out at an evaluation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData
from PIL import Image

from convnext_dense.visualization import DetectionPictureHook
from convnext_dense.visualization.hooks import make_objects


class Masks:
    """mmdet's masks: an array behind a method, chosen by index."""

    def __init__(self, array):
        self._array = array

    def __len__(self):
        return len(self._array)

    def __getitem__(self, index):
        return Masks(self._array[index])

    def to_ndarray(self):
        return self._array


class Boxes(list):
    """mmdet's boxes: a tensor behind a name."""

    def __init__(self, tensor):
        super().__init__(tensor)
        self.tensor = tensor


def make_sample(path, truth=True):
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, 10:20, 10:20], masks[1, 20:30, 30:50] = True, True
    boxes = torch.tensor([[10.0, 10.0, 20.0, 20.0], [30.0, 20.0, 50.0, 30.0]])
    sample = BaseDataElement(metainfo=dict(img_path=str(path)))
    sample.pred_instances = InstanceData(
        bboxes=boxes, labels=torch.tensor([0, 1]), masks=masks, scores=torch.tensor([0.9, 0.3])
    )
    if truth:
        sample.gt_instances = InstanceData(
            bboxes=Boxes(boxes),
            labels=torch.tensor([0, 1]),
            masks=Masks(masks.numpy().astype(np.uint8)),
        )
    return sample


@pytest.fixture
def runner(tmp_path):
    for name in 'abc':
        Image.new('RGB', (60, 40), (100, 100, 100)).save(tmp_path / f'{name}.png')
    metainfo = dict(classes=('x', 'y'), palette=[(255, 0, 0), (0, 0, 255)])
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))
    return SimpleNamespace(
        work_dir=str(tmp_path / 'run'), val_dataloader=loader, test_dataloader=loader
    )


def test_the_best_score_is_on_top():
    objects = make_objects(make_sample('a.png').pred_instances)
    assert objects.labels.tolist() == [1, 0] and objects.scores.tolist() == pytest.approx(
        [0.3, 0.9]
    )
    assert (
        objects.masks.dtype == bool
        and objects.masks[1, 15, 15]
        and objects.boxes[1].tolist() == [10, 10, 20, 20]
    )
    truth = make_objects(
        InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    )
    assert truth.scores is None and truth.masks is None and truth.boxes.shape == (0, 4)


def test_draws_the_first_images_with_truth(runner, tmp_path):
    hook = DetectionPictureHook(count=2, score_thr=0.5)
    hook.after_val_iter(runner, 0, outputs=[make_sample(tmp_path / 'a.png')])
    hook.after_test_iter(runner, 1, outputs=[make_sample(tmp_path / 'b.png', truth=False)])
    hook.after_val_iter(runner, 2, outputs=[make_sample(tmp_path / 'c.png')])
    pictures = {
        path.stem: np.asarray(Image.open(path))
        for path in (tmp_path / 'run' / 'pictures').iterdir()
    }
    assert set(pictures) == {'a', 'b'}
    assert pictures['a'].shape[1] == 3 * 480 + 12 and pictures['b'].shape[1] == 2 * 480 + 6
    truth, found = pictures['a'][18:, 486:966], pictures['a'][18:, 972:]
    assert (
        truth[8 * 25, 8 * 40, 2] > 150 and (found[8 * 25, 8 * 40] == 100).all()
    )  # below the threshold: not drawn
    assert found[8 * 17, 8 * 18, 0] > 150
