"""mmengine's ``init_cfg`` of type 'Pretrained', made strict for modules with a ConvNeXt of ours."""

from __future__ import annotations

import logging
from typing import Any

from mmengine import model as mm
from mmengine.logging import print_log
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from convnext_dense import layers
from convnext_dense.checkpoints import LoadReport, load_pretrained


def is_pretrained(init_cfg: Any) -> bool:
    """Whether an ``init_cfg`` asks for a checkpoint."""
    return isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'


def init_pretrained(module: nn.Module, init_cfg: dict) -> LoadReport:
    """Call :func:`convnext_dense.checkpoints.load_pretrained` and log what it did.

    The log gets a few lines at level INFO and every name at DEBUG; with ``strict=False`` also every
    name that stays random, at WARNING.

    Args:
        module: a module whose parameters have our names.
        init_cfg: see :func:`convnext_dense.checkpoints.load_pretrained`.
    """
    report = load_pretrained(module, init_cfg)
    print_log(str(report), logger='current')
    print_log(report.details(), logger='current', level=logging.DEBUG)
    if not report.complete:
        random = [*report.missing, *report.misshapen]
        print_log(
            f'{report.source} was loaded with strict=False: {len(random)} weights that it should '
            f'have stay random: {", ".join(random)}',
            logger='current',
            level=logging.WARNING,
        )
    return report


# A detector or segmentor is a class of mmdet or mmseg. Its init_cfg goes to mmengine's
# BaseModule.init_weights, which builds 'Pretrained' (and no other name) from this registry, after
# all children; and mmengine's initializer loads with strict=False. So the name is replaced, in the
# root registry, where every scope ends up. For modules without a ConvNeXt of ours, mmengine's class
# does the same as before.
@WEIGHT_INITIALIZERS.register_module(name='Pretrained', force=True)
class PretrainedInit(mm.PretrainedInit):
    """mmengine's initializer; for a module with a ConvNeXt of ours, :func:`init_pretrained`.

    Args:
        checkpoint: see :func:`convnext_dense.checkpoints.load_pretrained`.
        prefix: as ``checkpoint``.
        map_location: as ``checkpoint``.
        options: more fields of :func:`convnext_dense.checkpoints.load_pretrained`.
    """

    def __init__(
        self, checkpoint: str, prefix: str | None = None, map_location: str = 'cpu', **options: Any
    ):
        super().__init__(checkpoint, prefix, map_location)
        self.options = options

    def __call__(self, module: nn.Module) -> None:
        if any(isinstance(part, layers.ConvNeXt) for part in module.modules()):
            fields = dict(checkpoint=self.checkpoint, prefix=self.prefix, **self.options)
            init_pretrained(module, fields)
            if hasattr(module, '_params_init_info'):  # while mmengine records the initialization
                mm.update_init_info(module, init_info=self._get_init_info())
        elif self.options:
            raise TypeError(
                f"init_cfg of type 'Pretrained' takes {', '.join(self.options)} only for models "
                f'with a convnext_dense.ConvNeXt; {type(module).__name__} has none'
            )
        else:
            super().__call__(module)
