"""mmengine's ``init_cfg`` of type 'Pretrained', made strict for whatever holds a ConvNeXt of ours."""

from __future__ import annotations

import logging

from mmengine import model as mm
from mmengine.logging import print_log
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from convnext_dense import layers
from convnext_dense.checkpoints import LoadReport, load_pretrained


def is_pretrained(init_cfg) -> bool:
    return isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'


def init_pretrained(module: nn.Module, init_cfg: dict) -> LoadReport:
    """:func:`convnext_dense.checkpoints.load_pretrained`, and what it did in mmengine's log.

    A few lines at level INFO, every name at DEBUG; with ``strict=False`` what stays random, every name, at WARNING.
    """
    report = load_pretrained(module, init_cfg)
    print_log(str(report), logger='current')
    print_log(report.details(), logger='current', level=logging.DEBUG)
    if not report.complete:
        random = [*report.missing, *report.misshapen]
        print_log(
            f'{report.source} was loaded with strict=False: {len(random)} weights that it should give stay '
            f'random: {", ".join(random)}',
            logger='current',
            level=logging.WARNING,
        )
    return report


# A detector or segmentor is mmdet's or mmseg's class. Its own init_cfg goes to mmengine's BaseModule.init_weights,
# which builds 'Pretrained', and no other name, after all children, by the name in this registry; and mmengine's
# initializer loads with strict=False. So the name is taken over, in the root registry, where every scope ends up.
# Modules without a ConvNeXt of ours get mmengine's behavior from its own class, unchanged.
@WEIGHT_INITIALIZERS.register_module(name='Pretrained', force=True)
class PretrainedInit(mm.PretrainedInit):
    """mmengine's initializer; for a module that holds a ConvNeXt of ours, :func:`load_pretrained` with its fields."""

    def __init__(
        self, checkpoint: str, prefix: str | None = None, map_location: str = 'cpu', **options
    ):
        super().__init__(checkpoint, prefix, map_location)
        self.options = options

    def __call__(self, module: nn.Module) -> None:
        if any(isinstance(part, layers.ConvNeXt) for part in module.modules()):
            init_pretrained(
                module, dict(checkpoint=self.checkpoint, prefix=self.prefix, **self.options)
            )
            if hasattr(module, '_params_init_info'):  # while mmengine keeps account
                mm.update_init_info(module, init_info=self._get_init_info())
        elif self.options:
            raise TypeError(
                f"init_cfg of type 'Pretrained' takes {', '.join(self.options)} only for models with a "
                f'convnext_dense.ConvNeXt; {type(module).__name__} has none'
            )
        else:
            super().__call__(module)
