"""What mmengine sees: the dense backbone."""
from convnext_dense.models.backbone import ConvNeXt

__all__ = ['ConvNeXt']
