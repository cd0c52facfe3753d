"""Fine-tuned segmentors and detectors of the authors, mmseg and mmdet, in our configs.

``tests/golden/authors_keys.json`` lists what their files hold, taken from their code.
"""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import convnext_dense  # noqa: F401  (before mmdet: it stands in for mmcv's compiled ops)
from convnext_dense.checkpoints import load_weights

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = json.loads((ROOT / 'tests' / 'golden' / 'authors_keys.json').read_text())
CONFIGS = {
    'upernet_convnext_tiny': 'upernet_convnext_t_ade20k.py',
    'mmseg_upernet_convnext_tiny': 'upernet_convnext_t_ade20k.py',
    'mask_rcnn_convnext_tiny': 'mask_rcnn_convnext_t_coco.py',
    'mmdet_mask_rcnn_convnext_tiny': 'mask_rcnn_convnext_t_coco.py',
    'cascade_mask_rcnn_convnext_tiny': 'cascade_mask_rcnn_convnext_t_coco.py',
}
LARGE = {
    'mmdet_cascade_mask_rcnn_convnext_small': 'cascade_mask_rcnn_convnext_s_coco.py',
    'upernet_convnext_xlarge': 'upernet_convnext_xl_22k_ade20k.py',
}


def expand_name(name, depths):
    """Each name that a name with places stands for, and the stage in it."""
    if place := re.search(r'\{(\d)-(\d)\}', name):
        return [
            pair
            for n in range(int(place[1]), int(place[2]) + 1)
            for pair in expand_name(name.replace(place[0], str(n), 1), depths)
        ]
    if '{d}' in name:
        return [(name.replace('{d}', str(d)), d) for d in (1, 2, 3)]
    if '{i}' not in name:
        return [(name, 0)]
    return [
        (name.replace('{i}', str(i)).replace('{j}', str(j)), i)
        for i in range(4)
        for j in range(depths[i] if '{j}' in name else 1)
    ]


def size(token, stage, dims):
    match = re.fullmatch(r'C(\w)(?:(x|\+)(\d+))?|(\d+)', token)
    if match[4]:
        return int(token)
    width = dims[
        {'i': stage, 'd': stage, 'p': stage - 1}[match[1]] if match[1].isalpha() else int(match[1])
    ]
    return {None: width, 'x': width * int(match[3] or 1), '+': width + int(match[3] or 0)}[match[2]]


def list_weights(file):
    """{name: shape} of one of the files."""
    entry, shapes = GOLDEN['files'][file], {}
    for part in entry['parts']:
        for pattern, shape in GOLDEN['parts'][part].items():
            for name, stage in expand_name(pattern, entry['depths']):
                if shape.startswith('norm '):
                    shapes |= {
                        f'{name}.{leaf}': (int(shape[5:]),) * len(of)
                        for leaf, of in GOLDEN['norm'].items()
                    }
                else:
                    shapes[name] = tuple(
                        size(token, stage, entry['dims']) for token in shape.split()
                    )
    return shapes


def fake_file(file, path):
    """Each weight its own number, as large as the real one but stored once: {name: number}."""
    numbers, state_dict = {}, {}
    for number, (name, shape) in enumerate(list_weights(file).items(), 1):
        dtype = torch.int64 if name.endswith('num_batches_tracked') else torch.float32
        numbers[name], state_dict[name] = number, torch.full((), number, dtype=dtype).expand(shape)
    torch.save(dict(meta=dict(epoch=36), state_dict=state_dict), path)
    return numbers


def build(config):
    cfg = Config.fromfile(ROOT / 'configs' / config)
    cfg.model.backbone.init_cfg = None
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):  # no random numbers: every weight comes from the file
        model = MODELS.build(cfg.model)
    return model.to_empty(device='cpu')


def ours(name):
    return name.replace('depthwise_conv', 'dwconv').replace('pointwise_conv', 'pwconv')


def check_loaded(model, numbers, report):
    own = model.state_dict()
    assert {ours(name) for name in numbers} == set(
        own
    )  # the authors' list is complete, and ours is no longer
    wrong = [name for name, number in numbers.items() if not own[ours(name)].eq(number).all()]
    assert not wrong and not (
        report.fresh or report.dropped or report.missing or report.misshapen or report.unexpected
    )
    assert len(report.loaded) == len(own)


@pytest.mark.parametrize('file', CONFIGS)
def test_no_key_is_left_over(tmp_path, file):
    numbers = fake_file(file, tmp_path / 'c.pth')
    model = build(CONFIGS[file])
    report = load_weights(model, tmp_path / 'c.pth')
    check_loaded(model, numbers, report)
    assert ('mmpretrain' in report.layout) == file.startswith('mm') and report.arch.startswith(
        'tiny'
    )


@pytest.mark.slow
@pytest.mark.parametrize('file', LARGE)
def test_no_key_is_left_over_in_the_large_ones(tmp_path, file):
    numbers = fake_file(file, tmp_path / 'c.pth')
    model = build(LARGE[file])
    check_loaded(model, numbers, load_weights(model, tmp_path / 'c.pth'))


@pytest.mark.parametrize(
    ('file', 'millions'),
    [  # the authors' own counts, from their tables
        ('upernet_convnext_tiny', 60),
        ('upernet_convnext_xlarge', 391),
        ('mask_rcnn_convnext_tiny', 48),
        ('cascade_mask_rcnn_convnext_tiny', 86),
        ('mmdet_cascade_mask_rcnn_convnext_small', 108),
    ],
)
def test_the_lists_hold_as_many_parameters_as_the_authors_count(file, millions):
    parameters = sum(
        math.prod(shape)
        for name, shape in list_weights(file).items()
        if 'running_' not in name and 'num_batches' not in name
    )
    assert round(parameters / 1e6) == millions
