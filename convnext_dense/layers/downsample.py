"""What stands before each stage: the stem, and the downsampling layers."""

from torch import Tensor, nn
from torch.nn import functional as F

from convnext_dense.layers.norm import LayerNorm2d


def make_stem(in_channels: int, dim: int, eps: float) -> nn.Sequential:
    """Stem: (N, in_channels, H, W) -> (N, dim, H / 4, W / 4)."""
    conv = nn.Conv2d(in_channels, dim, kernel_size=4, stride=4)
    return nn.Sequential(conv, LayerNorm2d(dim, eps=eps))


def make_downsample(
    in_dim: int, dim: int, eps: float, *, dilation_before: int, dilation: int
) -> nn.Sequential:
    """Downsampling between two stages: (N, in_dim, H, W) -> (N, dim, H / 2, W / 2).

    The sides stay where the dilation grows from ``dilation_before`` to ``dilation``.
    """
    if dilation == dilation_before:
        conv = nn.Conv2d(in_dim, dim, kernel_size=2, stride=2)
    else:
        conv = _SameSizeConv2d(in_dim, dim, kernel_size=2, dilation=dilation_before)
    return nn.Sequential(LayerNorm2d(in_dim, eps=eps), conv)


class _SameSizeConv2d(nn.Conv2d):
    """2x2 convolution with stride 1, padded with zeros to the same size.

    The padding is ``dilation`` in sum; an odd pixel goes to the right and to the bottom. torch's
    ``padding='same'`` computes the same, but warns about the even kernel.
    """

    def forward(self, x: Tensor) -> Tensor:
        before = self.dilation[0] // 2
        after = self.dilation[0] - before
        return super().forward(F.pad(x, (before, after, before, after)))
