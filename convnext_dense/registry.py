"""Children of mmengine's registries, with the scope ``convnext_dense``.

mmengine imports ``<scope>.registry`` when it meets an unknown scope, so the registries of mmengine,
mmdet and mmseg find ``type='convnext_dense.X'`` without ``custom_imports``. The modules in
``locations`` are imported at the first lookup.
"""

from mmengine import registry as mmengine_registry

_SCOPE = 'convnext_dense'

MODELS = mmengine_registry.Registry(
    'model', parent=mmengine_registry.MODELS, scope=_SCOPE, locations=['convnext_dense.models']
)
OPTIM_WRAPPER_CONSTRUCTORS = mmengine_registry.Registry(
    'optim wrapper constructor',
    parent=mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS,
    scope=_SCOPE,
    locations=['convnext_dense.engine'],
)
HOOKS = mmengine_registry.Registry(
    'hook',
    parent=mmengine_registry.HOOKS,
    scope=_SCOPE,
    locations=['convnext_dense.engine', 'convnext_dense.visualization'],
)
LOOPS = mmengine_registry.Registry(
    'loop', parent=mmengine_registry.LOOPS, scope=_SCOPE, locations=['convnext_dense.engine']
)
METRICS = mmengine_registry.Registry(
    'metric',
    parent=mmengine_registry.METRICS,
    scope=_SCOPE,
    locations=['convnext_dense.evaluation'],
)
DATASETS = mmengine_registry.Registry(
    'dataset',
    parent=mmengine_registry.DATASETS,
    scope=_SCOPE,
    locations=['convnext_dense.datasets'],
)
DATA_SAMPLERS = mmengine_registry.Registry(
    'data sampler',
    parent=mmengine_registry.DATA_SAMPLERS,
    scope=_SCOPE,
    locations=['convnext_dense.datasets'],
)
