"""The stand-in for ``mmcv._ext``, imported under that name when mmcv has no compiled ops.

It holds the ops that torchvision and plain torch can compute, with the arguments of mmcv's C++
functions. Every other name exists too, because ``mmcv.ops`` looks for over a hundred names, which
differ between versions; these ops raise when they are called. ``finder.py`` installs the stand-in.

Source: open-mmlab/mmcv mmcv/ops/csrc/pytorch/pybind.cpp
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torchvision

from convnext_dense.mmcv_ops.deform_attn import ms_deform_attn_backward, ms_deform_attn_forward
from convnext_dense.mmcv_ops.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from convnext_dense.mmcv_ops.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from convnext_dense.mmcv_ops.nms import nms, nms_match, softnms
from convnext_dense.mmcv_ops.roi_align import roi_align_backward, roi_align_forward
from convnext_dense.mmcv_ops.roi_pool import roi_pool_backward, roi_pool_forward

__all__ = [
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'nms_match',
    'roi_align_backward',
    'roi_align_forward',
    'roi_pool_backward',
    'roi_pool_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
    'softnms',
]


def get_compiler_version() -> str:
    """For mmcv's ``collect_env``: says that nothing was compiled, and what is used instead."""
    return f'n/a (not compiled; convnext_dense.mmcv_ops on torchvision {torchvision.__version__})'


def get_compiling_cuda_version() -> str:
    """For mmcv's ``collect_env``: the same answer as that of a compiled mmcv without CUDA."""
    return 'not available'


def __getattr__(name: str) -> Callable:
    if name.startswith('_'):  # the import system, pickle and inspect look for such names
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return _missing(name)


@cache
def _missing(name: str) -> Callable:
    def missing_op(*args: object, **kwargs: object) -> None:
        raise NotImplementedError(
            f'mmcv op {name!r} needs a compiled mmcv, which this environment does not have; '
            f'convnext_dense stands in for {", ".join(__all__)} only. To get a compiled mmcv, '
            'build it against the torch you have: `MMCV_WITH_OPS=1 pip install '
            '--no-build-isolation '
            '--no-cache-dir --force-reinstall --no-deps onedl-mmcv`, or mmcv==2.1.0 instead of '
            'mmcv-lite; see docs/compiled_ops.md'
        )

    missing_op.__name__ = name
    missing_op.__qualname__ = name
    return missing_op
