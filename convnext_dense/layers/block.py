"""The ConvNeXt block, V1 and V2."""
import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from convnext_dense.layers.norm import GlobalResponseNorm


class ConvNeXtBlock(nn.Module):
    """Residual block at constant size: (N, C, H, W) -> (N, C, H, W).

    ::

        y = pwconv2(grn(gelu(pwconv1(norm(dwconv(x))))))          dwconv: 7x7, one filter a channel; pwconv1: C -> 4C
        x + drop_path(gamma * y)

    V1 has ``gamma`` (layer scale) and no ``grn``; V2 has ``grn`` and no ``gamma``.

    Args:
        dim: channels C.
        drop_path: probability in [0, 1) of dropping the branch, for each sample by itself, while training.
        layer_scale_init_value: initial ``gamma``; 0 builds none.
        use_grn: build ``grn``.
        norm_eps: epsilon of ``norm``.
        dilation: of ``dwconv``, in pixels of the map: its 49 taps lie this far apart. The weights are the same.

    Source: arXiv:2201.03545 figure 4, arXiv:2301.00808 figure 5; facebookresearch/ConvNeXt models/convnext.py:Block
    @ 048efce; facebookresearch/ConvNeXt-V2 models/convnextv2.py:Block @ 2553895.
    """

    def __init__(self, dim: int, *, drop_path: float = 0., layer_scale_init_value: float = 1e-6,
                 use_grn: bool = False, norm_eps: float = 1e-6, dilation: int = 1):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3 * dilation, dilation=dilation, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.grn = GlobalResponseNorm(4 * dim) if use_grn else None
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), float(layer_scale_init_value))) if layer_scale_init_value > 0 else None
        # The stride of an axis of one is free: this is the one that gradients of channels-last maps come with, and
        # DistributedDataParallel copies and warns when the two differ.
        self.dwconv.weight = nn.Parameter(self.dwconv.weight.detach().as_strided((dim, 1, 7, 7), (49, 1, 7, 1)))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x).permute(0, 2, 3, 1)  # (N, H, W, C): a pixel's channels lie side by side from here
        y = F.gelu(self.pwconv1(self.norm(y)))  # (N, H, W, 4C); the exact GELU (erf), as the authors
        if self.grn is not None:
            y = self.grn(y)
        y = self.pwconv2(y)
        if self.gamma is not None:
            y = self.gamma * y
        return x + self.drop_path(y.permute(0, 3, 1, 2))  # (N, C, H, W), channels-last strides
