"""NMS, soft-NMS and nms_match: against compiled mmcv, slow loops, and cases by hand."""

import math

import mmcv._ext as ext
import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, nms, nms_match, soft_nms

PAIR = torch.tensor([[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])  # IoU 1/2


def random_boxes(count, whole=False):
    corner = torch.rand(count, 2) * 60
    size = torch.rand(count, 2) * 20
    size[::7] = 0  # empty
    size[3::11] *= -1  # malformed
    boxes = torch.cat((corner, corner + size), dim=1)
    return boxes.round() if whole else boxes


def iou(a, b, offset):
    """In float32 step by step, as a compiler would."""
    a = a.numpy()
    b = b.numpy()
    one = np.float32(offset)
    width = max(np.float32(0), min(a[2], b[2]) - max(a[0], b[0]) + one)
    height = max(np.float32(0), min(a[3], b[3]) - max(a[1], b[1]) + one)
    inter = width * height
    areas = [(box[2] - box[0] + one) * (box[3] - box[1] + one) for box in (a, b)]
    with np.errstate(all='ignore'):
        return inter / (areas[0] + areas[1] - inter)


def loop_groups(boxes, scores, suppresses, offset):
    left = sorted(range(len(boxes)), key=lambda i: -scores[i].item())
    groups = []
    while left:
        best = left.pop(0)
        hit = [i for i in left if suppresses(iou(boxes[best], boxes[i], offset))]
        left = [i for i in left if i not in hit]
        groups.append([best, *hit])
    return groups


def loop_softnms(boxes, scores, threshold, sigma, min_score, method, offset):
    """Swap by swap: the best box to the front; the last box takes the place of a dropped one."""
    items = [[i, s.item()] for i, s in enumerate(scores)]
    picked = []
    while items:
        best = max(range(len(items)), key=lambda k: items[k][1])
        items[0], items[best] = items[best], items[0]
        picked.append(items[0])
        items = items[1:]
        pos = 0
        while pos < len(items):
            overlap = float(iou(boxes[picked[-1][0]], boxes[items[pos][0]], offset))
            decay = (
                {'naive': 0.0, 'linear': 1 - overlap}.get(method, 1.0)
                if overlap >= np.float32(threshold)
                else 1.0
            )
            items[pos][1] *= math.exp(-(overlap**2) / sigma) if method == 'gaussian' else decay
            if items[pos][1] < min_score:
                items[pos] = items[-1]
                items.pop()
            else:
                pos += 1
    return picked


@pytest.mark.parametrize('threshold', [0.3, 0.5, 0.7])
def test_nms_equals_compiled(golden, threshold):
    boxes = golden['nms/boxes']
    scores = golden['nms/scores']
    dets, keep = nms(boxes, scores, threshold)
    assert torch.equal(keep, golden[f'nms/keep_{threshold}'])
    assert torch.equal(dets, torch.cat((boxes[keep], scores[keep, None]), dim=1))


def test_batched_nms_equals_compiled(golden):
    boxes = golden['nms/boxes']
    scores = golden['nms/scores']
    ids = golden['nms/ids']
    for split_thr in (10000, 100):
        dets, keep = batched_nms(
            boxes, scores, ids, dict(type='nms', iou_threshold=0.6, split_thr=split_thr)
        )
        assert torch.equal(keep, golden['nms/batched_keep'])
        assert torch.equal(dets, golden['nms/batched_dets'])


def test_batched_nms_class_agnostic_is_nms(golden):
    boxes = golden['nms/boxes']
    scores = golden['nms/scores']
    ids = golden['nms/ids']
    keep = batched_nms(
        boxes, scores, ids, dict(type='nms', iou_threshold=0.5, class_agnostic=True)
    )[1]
    assert torch.equal(keep, golden['nms/keep_0.5'])


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_equals_compiled(golden, method):
    dets, keep = soft_nms(
        golden['nms/boxes'], golden['nms/scores'], 0.3, sigma=0.5, min_score=1e-3, method=method
    )
    assert torch.equal(keep, golden[f'softnms/{method}_keep'])
    torch.testing.assert_close(dets, golden[f'softnms/{method}_dets'], rtol=0, atol=1e-6)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize('threshold', [0.0, 0.25, 0.5])
def test_nms_equals_a_loop(offset, whole, threshold):
    boxes = random_boxes(60, whole)
    scores = torch.randint(0, 20, (60,)) / 20  # with ties
    groups = loop_groups(boxes, scores, lambda v: v > np.float32(threshold), offset)
    expected = [group[0] for group in groups]
    assert nms(boxes, scores, threshold, offset=offset)[1].tolist() == expected


def test_nms_match_equals_a_loop():
    boxes = random_boxes(60, whole=True)
    scores = torch.randint(0, 20, (60,)) / 20
    dets = torch.cat((boxes, scores[:, None]), dim=1)
    expected = loop_groups(boxes, scores, lambda v: v >= np.float32(0.25), 0)
    assert max(map(len, expected)) > 2
    assert [group.tolist() for group in nms_match(dets, 0.25)] == expected
    assert [group.tolist() for group in nms_match(dets.numpy(), 0.25)] == expected


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
def test_soft_nms_equals_a_loop(method, offset):
    boxes = random_boxes(40, whole=True)
    boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)  # a 0 / 0 has no order to compare
    scores = torch.randint(1, 20, (40,)) / 20
    for min_score in (0.06, 0.3):
        expected = loop_softnms(boxes, scores, 0.3, 0.5, min_score, method, offset)
        dets, keep = soft_nms(boxes, scores, 0.3, 0.5, min_score, method, offset)
        assert keep.tolist() == [i for i, _ in expected] and len(keep) < 40
        torch.testing.assert_close(
            dets[:, 4], torch.tensor([score for _, score in expected]), rtol=1e-5, atol=1e-6
        )
        assert torch.equal(dets[:, :4], boxes[keep])


def test_at_the_threshold():
    scores = torch.tensor([0.9, 0.8])
    # nms suppresses with IoU > threshold, the others with IoU >= threshold.
    assert nms(PAIR, scores, 0.5)[1].tolist() == [0, 1]
    (group,) = nms_match(torch.cat((PAIR, scores[:, None]), 1), 0.5)
    assert group.tolist() == [0, 1]
    assert soft_nms(PAIR, scores, 0.5, method='naive')[1].tolist() == [0]
    # 3/10 in float32 is above 0.3 in float64 and equal to 0.3 in float32.
    boxes = torch.tensor([[0.0, 0.0, 10.0, 1.0], [0.0, 0.0, 3.0, 1.0]])
    assert nms(boxes, scores, 0.3)[1].tolist() == [0, 1]


def test_offset_by_hand():
    # Pixels 0..1 and 0..0: 2 and 1 wide, IoU 1/2. Without the offset: 1 and 0 wide, IoU 0.
    boxes = torch.tensor([[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.4, offset=1)[1].tolist() == [0]
    assert nms(boxes, scores, 0.4, offset=0)[1].tolist() == [0, 1]


def test_soft_nms_by_hand():
    scores = torch.tensor([0.8, 0.9])
    for method, decay in dict(naive=0.0, linear=0.5, gaussian=math.exp(-0.25 / 0.5)).items():
        dets, keep = soft_nms(PAIR, scores, 0.3, sigma=0.5, min_score=0.0, method=method)
        assert keep.tolist() == [1, 0]
        torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.8 * decay]))


def test_equal_scores_keep_their_order():
    boxes = torch.arange(50.0)[:, None] * 10 + torch.tensor([0.0, 0.0, 5.0, 5.0])
    assert nms(boxes, torch.full((50,), 0.5), 0.5)[1].tolist() == list(range(50))


def test_score_threshold_and_max_num():
    boxes = torch.arange(6.0)[:, None] * 10 + torch.tensor([0.0, 0.0, 5.0, 5.0])
    scores = torch.tensor([0.1, 0.6, 0.3, 0.9, 0.5, 0.2])
    assert nms(boxes, scores, 0.5, score_threshold=0.25, max_num=3)[1].tolist() == [3, 1, 4]


def test_no_boxes():
    boxes = torch.zeros(0, 4)
    scores = torch.zeros(0)
    for offset in (0, 1):
        dets, keep = nms(boxes, scores, 0.5, offset=offset)
        assert dets.shape == (0, 5) and keep.shape == (0,) and keep.dtype == torch.long
    dets, keep = soft_nms(boxes, scores)
    assert dets.shape == (0, 5) and keep.shape == (0,) and keep.dtype == torch.long
    assert ext.nms_match(torch.zeros(0, 5), 0.5) == []


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    boxes = random_boxes(30, whole=True).to(dtype)
    scores = (torch.randperm(30) / 32).to(dtype)
    expected = nms(boxes.float(), scores.float(), 0.4)[1]
    assert torch.equal(nms(boxes, scores, 0.4)[1], expected)
    dets, keep = soft_nms(boxes, scores)
    assert dets.dtype == dtype and torch.equal(keep, soft_nms(boxes.float(), scores.float())[1])


def test_bad_input():
    boxes = torch.rand(3, 4)
    scores = torch.rand(3)
    with pytest.raises(ValueError, match='offset must be 0 or 1, got 2'):
        ext.nms(boxes, scores, 0.5, 2)
    with pytest.raises(ValueError, match=r'boxes must be \(B, 4\), got \(3, 5\)'):
        ext.nms(torch.rand(3, 5), scores, 0.5, 0)
    with pytest.raises(ValueError, match=r'scores must be \(3,\)'):
        ext.softnms(boxes, scores[:2], torch.zeros(3, 5), 0.5, 0.5, 0.0, 1, 0)
    with pytest.raises(ValueError, match='method'):
        ext.softnms(boxes, scores, torch.zeros(3, 5), 0.5, 0.5, 0.0, 3, 0)
