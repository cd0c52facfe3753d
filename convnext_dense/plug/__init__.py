"""Put ConvNeXt into an existing mmdet or mmseg config."""

from convnext_dense.plug.plug import plug

__all__ = ['plug']
