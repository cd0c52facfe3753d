"""What the command and training scripts call. mmdet and mmseg are imported only when needed."""

from convnext_dense.apis.checkpoints import (
    allow_training_checkpoints,
    keep_checkpoints_safe,
    prepare_load_from,
    require_fit,
    resume_last,
)
from convnext_dense.apis.config import (
    find_config_folder,
    fit_to_machine,
    list_configs,
    load_config,
    require_checkpoint,
    require_data,
    resolve_config,
    use_amp,
    use_tta,
)
from convnext_dense.apis.predict import draw_predictions, find_images
from convnext_dense.apis.recipes import format_list, format_page, read_metafiles
from convnext_dense.apis.sample import use_sample
from convnext_dense.apis.summary import print_summary
from convnext_dense.errors import CheckpointError, ConfigError
from convnext_dense.evaluation.scores import run_test, write_scores
from convnext_dense.evaluation.tables import print_scores

__all__ = [
    'CheckpointError',
    'ConfigError',
    'allow_training_checkpoints',
    'draw_predictions',
    'find_config_folder',
    'find_images',
    'fit_to_machine',
    'format_list',
    'format_page',
    'keep_checkpoints_safe',
    'list_configs',
    'load_config',
    'prepare_load_from',
    'print_scores',
    'print_summary',
    'read_metafiles',
    'require_checkpoint',
    'require_data',
    'require_fit',
    'resolve_config',
    'resume_last',
    'run_test',
    'use_amp',
    'use_sample',
    'use_tta',
    'write_scores',
]
