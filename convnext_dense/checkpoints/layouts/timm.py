"""timm's names, which smp, open_clip and mmpretrain's TIMMBackbone have too, under a prefix."""

from convnext_dense.checkpoints.layouts.layout import Layout, Row, make_rows
from convnext_dense.checkpoints.layouts.shapes import CONVOLUTION, GRN_VECTOR, LINEAR_TIMM, Shape

# Source: huggingface/pytorch-image-models timm/models/convnext.py, timm/layers/classifier.py
# @ v1.0.31.
_RAW_MAPS = 'timm returns the raw feature maps, without output norms'


def _trunk(stages: str, stem: str, pointwise: Shape = LINEAR_TIMM) -> tuple[Row, ...]:
    return make_rows(
        (f'{stem}{{k}}.{{p}}', 'downsample_layers.0.{k}.{p}'),
        (f'{stages}{{d}}.downsample.{{k}}.{{p}}', 'downsample_layers.{d}.{k}.{p}'),
        (f'{stages}{{i}}.blocks.{{j}}.conv_dw.{{p}}', 'stages.{i}.{j}.dwconv.{p}'),
        (f'{stages}{{i}}.blocks.{{j}}.norm.{{p}}', 'stages.{i}.{j}.norm.{p}'),
        (f'{stages}{{i}}.blocks.{{j}}.mlp.fc1.weight', 'stages.{i}.{j}.pwconv1.weight', pointwise),
        (f'{stages}{{i}}.blocks.{{j}}.mlp.fc1.bias', 'stages.{i}.{j}.pwconv1.bias'),
        (f'{stages}{{i}}.blocks.{{j}}.mlp.grn.weight', 'stages.{i}.{j}.grn.gamma', GRN_VECTOR),
        (f'{stages}{{i}}.blocks.{{j}}.mlp.grn.bias', 'stages.{i}.{j}.grn.beta', GRN_VECTOR),
        (f'{stages}{{i}}.blocks.{{j}}.mlp.fc2.weight', 'stages.{i}.{j}.pwconv2.weight', pointwise),
        (f'{stages}{{i}}.blocks.{{j}}.mlp.fc2.bias', 'stages.{i}.{j}.pwconv2.bias'),
        (f'{stages}{{i}}.blocks.{{j}}.gamma', 'stages.{i}.{j}.gamma'),
    )


TIMM = Layout(
    'timm',
    'timm.create_model(NAME); open_clip towers',
    _trunk('stages.', 'stem.')
    + make_rows(
        ('head.norm.{p}', 'norm.{p}'),
        ('head.fc.{p}', 'head.{p}'),
        (None, 'norm{i}.{p}', _RAW_MAPS),
    ),
)

# The norm is applied to the last feature map, before pooling: our norm3. Only timm has this.
TIMM_HNF = Layout(
    'timm_hnf',
    "timm's convnext_tiny_hnf: the norm before the pooling",
    _trunk('stages.', 'stem.', CONVOLUTION)
    + make_rows(
        ('norm_pre.{p}', 'norm3.{p}'),
        ('head.fc.{p}', 'head.{p}'),
        (None, 'norm{i}.{p}', _RAW_MAPS),
        (None, 'norm.{p}', 'this classifier has its norm before pooling'),
    ),
    marker=r'norm_pre\.',
)

_HIDDEN = 'head with a hidden layer, which only timm has'
TIMM_MLP_HEAD = Layout(
    'timm_mlp_head',
    "timm's convnext_large_mlp: a hidden layer in the head",
    _trunk('stages.', 'stem.')
    + make_rows(
        ('head.norm.{p}', 'norm.{p}'),
        ('head.pre_logits.fc.{p}', None, _HIDDEN),
        ('head.fc.{p}', None, _HIDDEN),
        (None, 'head.{p}', 'this layout has a head with a hidden layer'),
        (None, 'norm{i}.{p}', _RAW_MAPS),
    ),
    marker=r'head\.pre_logits\.',
)

TIMM_FEATURES = Layout(
    'timm_features',
    'timm.create_model(NAME, features_only=True); smp encoders',
    _trunk('stages_', 'stem_')
    + make_rows(
        (None, 'norm.{p}', 'features_only has no classifier'),
        (None, 'head.{p}', 'features_only has no classifier'),
        (None, 'norm{i}.{p}', _RAW_MAPS),
    ),
)

LAYOUTS = (TIMM, TIMM_HNF, TIMM_MLP_HEAD, TIMM_FEATURES)
