"""The learning-rate rule: the layer of each ConvNeXt parameter, and its share of the base rate.

::

    lr_scale = decay_rate ** (num_layers + 1 - layer_id)          layer_id in 0..num_layers + 1

With S stages of depths d[0]..d[S-1]; stages i and blocks j are counted from 0:

==========  ====  ===================  ======================================  ====================
decay_type  stem  downsample_layers.i  stages.i.j                              num_layers
==========  ====  ===================  ======================================  ====================
layer_wise  0     as block 0 of stage  i + 1; i + 1 + j // 3 in stage S - 2;   S - 1
                  i                    num_layers in stage S - 1               + ceil(d[S-2] / 3)
stage_wise  0     0                    i + 1                                   as layer_wise
block_wise  1     as block 0 of stage  d[0] + ... + d[i-1] + j + 1             d[0] + ... + d[S-1]
                  i
==========  ====  ===================  ======================================  ====================

All other parameters (output norms, ``norm``, ``head``, necks and heads) have the layer id
num_layers + 1 and lr_scale 1. With ``stage_wise`` no layer has the ids S + 1..num_layers: the
authors' learning rates jump there, and so do these.

Source: facebookresearch/ConvNeXt object_detection/mmcv_custom/layer_decay_optimizer_constructor.py
and optim_factory.py @ 048efce; facebookresearch/ConvNeXt-V2 optim_factory.py @ 2553895, whose
'group' is ``layer_wise`` and 'single' is ``block_wise`` (its stem shares the layer of the first
block).
Differs: the authors take num_layers (6 or 12) from the user and support only four stages. Here
num_layers follows from the depths; the stage that is cut into groups of three blocks is always the
last but one. A trunk of one stage is one layer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

DECAY_TYPES = ('layer_wise', 'stage_wise', 'block_wise')
_BLOCKS_PER_LAYER = 3


def get_num_layers(depths: Sequence[int], decay_type: str) -> int:
    """Number of layers of a trunk, by the table above.

    Depths (3, 3, 9, 3) and (3, 3, 27, 3) give 6 and 12 for layer_wise and stage_wise, 18 and 36 for
    block_wise.

    Args:
        depths: blocks in each stage.
        decay_type: one of ``DECAY_TYPES``.

    Raises:
        ValueError: ``decay_type`` is unknown.
    """
    check_decay_type(decay_type)
    if decay_type == 'block_wise':
        return sum(depths)
    if len(depths) == 1:
        return 1
    return len(depths) - 1 + -(-depths[-2] // _BLOCKS_PER_LAYER)


def get_layer_id(name: str, depths: Sequence[int], decay_type: str) -> int:
    """Layer id of a parameter, in 0..num_layers + 1.

    Args:
        name: relative to the backbone, such as ``stages.2.4.dwconv.weight``.
        depths: blocks in each stage of the whole architecture, also of stages that are not built.
        decay_type: one of ``DECAY_TYPES``.

    Raises:
        ValueError: ``decay_type`` is unknown, or ``name`` is in ``stages`` or ``downsample_layers``
            but names no stage and block of ``depths``.
    """
    num_layers = get_num_layers(depths, decay_type)
    section = name.split('.')[0]
    if section not in ('downsample_layers', 'stages'):
        return num_layers + 1
    is_block = section == 'stages'
    stage, block = _parse(name, depths, is_block)
    if decay_type == 'block_wise':
        return sum(depths[:stage]) + block + 1
    is_stem = not is_block and stage == 0
    if is_stem or (not is_block and decay_type == 'stage_wise'):
        return 0
    if decay_type == 'stage_wise':
        return stage + 1
    return _get_layer_wise_id(stage, block, depths, num_layers)


def get_lr_scale(layer_id: int, num_layers: int, decay_rate: float) -> float:
    """Factor on the base learning rate: decay_rate ** (num_layers + 1 - layer_id).

    It is 1 outside of the trunk and smallest at the stem.
    """
    return decay_rate ** (num_layers + 1 - layer_id)


def check_decay_type(decay_type: str) -> None:
    """Raise ValueError if ``decay_type`` is none of ``DECAY_TYPES``."""
    if decay_type not in DECAY_TYPES:
        raise ValueError(
            f'decay_type must be one of {", ".join(map(repr, DECAY_TYPES))}; got {decay_type!r}'
        )


def check_num_layers(num_layers: int | None, depths: Sequence[int], decay_type: str) -> int:
    """Number of layers, after a check of the number that the user gave.

    Args:
        num_layers: the user's number; None if there is none.
        depths: blocks in each stage.
        decay_type: one of ``DECAY_TYPES``.

    Raises:
        ValueError: ``num_layers`` contradicts the depths: every learning rate would be wrong.
    """
    right = get_num_layers(depths, decay_type)
    if num_layers is not None and num_layers != right:
        raise ValueError(
            f'num_layers={num_layers!r} contradicts the backbone: depths {tuple(depths)} with '
            f'decay_type={decay_type!r} make num_layers={right}. Write {right}, or leave '
            'num_layers out.'
        )
    return right


def _get_layer_wise_id(stage: int, block: int, depths: Sequence[int], num_layers: int) -> int:
    last_stage = len(depths) - 1
    if stage == last_stage:
        return num_layers
    if stage == last_stage - 1:
        return stage + 1 + block // _BLOCKS_PER_LAYER
    return stage + 1


def _parse(name: str, depths: Sequence[int], is_block: bool) -> tuple[int, int]:
    """Stage and block of a parameter; a downsampling layer counts as block 0 of its stage."""
    if is_block:
        match = re.match(r'stages\.(\d+)\.(\d+)\.', name)
    else:
        match = re.match(r'downsample_layers\.(\d+)()\.', name)
    if match:
        stage = int(match[1])
        block = int(match[2] or 0)
        if stage < len(depths) and block < depths[stage]:
            return stage, block
    raise ValueError(
        f'cannot tell the layer of parameter {name!r}: expected downsample_layers.<stage>.* or '
        f'stages.<stage>.<block>.* with a stage and block that depths {tuple(depths)} have'
    )
