"""UperNet's heads in other libraries' names: one literal table each, theirs -> mmseg's.

Names are those of modules, without the last part (weight, bias, running_mean, ...); ``{n}`` is any
number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from convnext_dense.checkpoints.layouts.layout import Pattern

# Source: huggingface/transformers src/transformers/models/upernet/modeling_upernet.py @ 07a4af3;
# the same in v5.23.0.
TRANSFORMERS = {
    'decode_head.psp_modules.{n}.1.conv': 'decode_head.psp_modules.{n}.1.conv',
    'decode_head.psp_modules.{n}.1.batch_norm': 'decode_head.psp_modules.{n}.1.bn',
    'decode_head.bottleneck.conv': 'decode_head.bottleneck.conv',
    'decode_head.bottleneck.batch_norm': 'decode_head.bottleneck.bn',
    'decode_head.lateral_convs.{n}.conv': 'decode_head.lateral_convs.{n}.conv',
    'decode_head.lateral_convs.{n}.batch_norm': 'decode_head.lateral_convs.{n}.bn',
    'decode_head.fpn_convs.{n}.conv': 'decode_head.fpn_convs.{n}.conv',
    'decode_head.fpn_convs.{n}.batch_norm': 'decode_head.fpn_convs.{n}.bn',
    'decode_head.fpn_bottleneck.conv': 'decode_head.fpn_bottleneck.conv',
    'decode_head.fpn_bottleneck.batch_norm': 'decode_head.fpn_bottleneck.bn',
    'decode_head.classifier': 'decode_head.conv_seg',
    'auxiliary_head.convs.{n}.conv': 'auxiliary_head.convs.{n}.conv',
    'auxiliary_head.convs.{n}.batch_norm': 'auxiliary_head.convs.{n}.bn',
    'auxiliary_head.conv_cat.conv': 'auxiliary_head.conv_cat.conv',
    'auxiliary_head.conv_cat.batch_norm': 'auxiliary_head.conv_cat.bn',
    'auxiliary_head.classifier': 'auxiliary_head.conv_seg',
}

# Source: qubvel-org/segmentation_models.pytorch segmentation_models_pytorch/decoders/upernet/
# decoder.py and scripts/models-conversions/upernet-hf-to-smp.py @ 4f0324a. Its lateral and FPN
# lists start at the smallest feature map, mmseg's at the largest.
SMP = {
    'decoder.feature_norms.{n}': 'backbone.norm{n}',
    'decoder.psp.blocks.{n}.1.0': 'decode_head.psp_modules.{n}.1.conv',
    'decoder.psp.blocks.{n}.1.1': 'decode_head.psp_modules.{n}.1.bn',
    'decoder.psp.out_conv.0': 'decode_head.bottleneck.conv',
    'decoder.psp.out_conv.1': 'decode_head.bottleneck.bn',
    'decoder.fpn_lateral_blocks.0.conv_norm_relu.0': 'decode_head.lateral_convs.2.conv',
    'decoder.fpn_lateral_blocks.0.conv_norm_relu.1': 'decode_head.lateral_convs.2.bn',
    'decoder.fpn_lateral_blocks.1.conv_norm_relu.0': 'decode_head.lateral_convs.1.conv',
    'decoder.fpn_lateral_blocks.1.conv_norm_relu.1': 'decode_head.lateral_convs.1.bn',
    'decoder.fpn_lateral_blocks.2.conv_norm_relu.0': 'decode_head.lateral_convs.0.conv',
    'decoder.fpn_lateral_blocks.2.conv_norm_relu.1': 'decode_head.lateral_convs.0.bn',
    'decoder.fpn_conv_blocks.0.0': 'decode_head.fpn_convs.2.conv',
    'decoder.fpn_conv_blocks.0.1': 'decode_head.fpn_convs.2.bn',
    'decoder.fpn_conv_blocks.1.0': 'decode_head.fpn_convs.1.conv',
    'decoder.fpn_conv_blocks.1.1': 'decode_head.fpn_convs.1.bn',
    'decoder.fpn_conv_blocks.2.0': 'decode_head.fpn_convs.0.conv',
    'decoder.fpn_conv_blocks.2.1': 'decode_head.fpn_convs.0.bn',
    'decoder.fusion_block.0': 'decode_head.fpn_bottleneck.conv',
    'decoder.fusion_block.1': 'decode_head.fpn_bottleneck.bn',
    'segmentation_head.0': 'decode_head.conv_seg',
}


def name_as_mmseg(names: Iterable[str]) -> dict[str, str]:
    """Return {name: mmseg's name} for the heads of transformers or smp; empty for other models."""
    names = list(names)
    if 'decode_head.classifier.weight' in names:
        return _rename(names, TRANSFORMERS)
    if 'segmentation_head.0.weight' in names:
        return _rename(names, SMP)
    return {}


def name_as_transformers(names: Iterable[str]) -> dict[str, str]:
    """Return {name: transformers' name} for mmseg's UperNet heads; empty for other models."""
    names = list(names)
    if not any(name.startswith('decode_head.psp_modules.') for name in names):
        return {}
    return _rename(names, {ours: theirs for theirs, ours in TRANSFORMERS.items()})


def _rename(names: Iterable[str], table: Mapping[str, str]) -> dict[str, str]:
    patterns = [(Pattern(old), Pattern(new)) for old, new in table.items()]
    renamed = {}
    for name in names:
        module, _, leaf = name.rpartition('.')
        for old, new in patterns:
            values = old.read(module)
            if values is not None:
                renamed[name] = f'{new.write(values)}.{leaf}'
    return renamed
