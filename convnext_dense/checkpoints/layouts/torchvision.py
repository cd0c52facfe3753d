"""torchvision's names: one list, with stem and downsampling at even and stages at odd indices."""

from convnext_dense.checkpoints.layouts.layout import Layout, make_rows
from convnext_dense.checkpoints.layouts.shapes import COLUMN

# Source: pytorch/vision torchvision/models/convnext.py:ConvNeXt @ v0.26.0. It has no GRN, so V2 is
# refused.
TORCHVISION = Layout(
    'torchvision',
    'torchvision.models.convnext_*',
    make_rows(
        ('features.0.{k}.{p}', 'downsample_layers.0.{k}.{p}'),
        ('features.{2d}.{k}.{p}', 'downsample_layers.{d}.{k}.{p}'),
        ('features.{2i+1}.{j}.block.0.{p}', 'stages.{i}.{j}.dwconv.{p}'),
        ('features.{2i+1}.{j}.block.2.{p}', 'stages.{i}.{j}.norm.{p}'),
        ('features.{2i+1}.{j}.block.3.{p}', 'stages.{i}.{j}.pwconv1.{p}'),
        ('features.{2i+1}.{j}.block.5.{p}', 'stages.{i}.{j}.pwconv2.{p}'),
        ('features.{2i+1}.{j}.layer_scale', 'stages.{i}.{j}.gamma', COLUMN),
        ('classifier.0.{p}', 'norm.{p}'),
        ('classifier.2.{p}', 'head.{p}'),
        (None, 'norm{i}.{p}', 'torchvision has no output norms'),
    ),
)

LAYOUTS = (TORCHVISION,)
