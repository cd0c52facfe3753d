"""transformers' names: ConvNext, ConvNextV2, DINOv3ConvNext, and their Backbone classes."""

from dataclasses import replace

from convnext_dense.checkpoints.layouts.layout import Layout, make_rows

# Source: huggingface/transformers src/transformers/models/convnext/modeling_convnext.py,
# .../convnextv2/modeling_convnextv2.py, .../dinov3_convnext/modeling_dinov3_convnext.py @ v5.23.0;
# 4.56 for the older names.
TRANSFORMERS = Layout(
    'transformers',
    'ConvNext and ConvNextV2: Model, ForImageClassification, Backbone, UperNet',
    make_rows(
        ('embeddings.patch_embeddings.{p}', 'downsample_layers.0.0.{p}'),
        ('embeddings.layernorm.{p}', 'downsample_layers.0.1.{p}'),
        ('encoder.stages.{d}.downsampling_layer.{k}.{p}', 'downsample_layers.{d}.{k}.{p}'),
        ('encoder.stages.{i}.layers.{j}.dwconv.{p}', 'stages.{i}.{j}.dwconv.{p}'),
        ('encoder.stages.{i}.layers.{j}.layernorm.{p}', 'stages.{i}.{j}.norm.{p}'),
        ('encoder.stages.{i}.layers.{j}.pwconv1.{p}', 'stages.{i}.{j}.pwconv1.{p}'),
        ('encoder.stages.{i}.layers.{j}.grn.weight', 'stages.{i}.{j}.grn.gamma'),
        ('encoder.stages.{i}.layers.{j}.grn.bias', 'stages.{i}.{j}.grn.beta'),
        ('encoder.stages.{i}.layers.{j}.pwconv2.{p}', 'stages.{i}.{j}.pwconv2.{p}'),
        ('encoder.stages.{i}.layers.{j}.layer_scale_parameter', 'stages.{i}.{j}.gamma'),
        ('layernorm.{p}', 'norm.{p}'),
        ('hidden_states_norms.stage{i+1}.{p}', 'norm{i}.{p}'),
    ),
    outside=make_rows(('classifier.{p}', 'head.{p}')),
    bases=('convnext.', 'convnextv2.', ''),
    base_for=lambda has_grn, has_head: (
        ('convnextv2.' if has_grn else 'convnext.') if has_head else ''
    ),
)

TRANSFORMERS_DINOV3 = Layout(
    'transformers_dinov3',
    'DINOv3ConvNext as transformers 5 names it',
    make_rows(
        ('stages.{i}.downsample_layers.{k}.{p}', 'downsample_layers.{i}.{k}.{p}'),
        ('stages.{i}.layers.{j}.depthwise_conv.{p}', 'stages.{i}.{j}.dwconv.{p}'),
        ('stages.{i}.layers.{j}.layer_norm.{p}', 'stages.{i}.{j}.norm.{p}'),
        ('stages.{i}.layers.{j}.pointwise_conv1.{p}', 'stages.{i}.{j}.pwconv1.{p}'),
        ('stages.{i}.layers.{j}.pointwise_conv2.{p}', 'stages.{i}.{j}.pwconv2.{p}'),
        ('stages.{i}.layers.{j}.gamma', 'stages.{i}.{j}.gamma'),
        (None, 'norm{i}.{p}', 'DINOv3 has no norms before the last stage'),
        (None, 'head.{p}', 'DINOv3 has no classifier'),
    ),
    # One norm is applied to the pooled vector and to the last feature map.
    outside=make_rows(
        ('layer_norm.{p}', 'norm.{p}'),
        ('layer_norm.{p}', 'norm3.{p}'),
    ),
    bases=('model.', ''),
    base_for=lambda has_grn, has_head: 'model.',
)

TRANSFORMERS_DINOV3_4 = replace(
    TRANSFORMERS_DINOV3,
    name='transformers_dinov3_4',
    about='DINOv3ConvNext as transformers 4.56 names it',
    base_for=lambda has_grn, has_head: '',
    marker='(?!)',  # matches nothing: only written, its files are read as the one above
)

LAYOUTS = (TRANSFORMERS, TRANSFORMERS_DINOV3, TRANSFORMERS_DINOV3_4)
