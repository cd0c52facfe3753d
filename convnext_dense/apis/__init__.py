"""What the tools call. mmdet and mmseg are imported only where a config asks for them."""
from convnext_dense.apis.checkpoints import allow_training_checkpoints, require_fit
from convnext_dense.apis.config import (ConfigError, fit_to_machine, load_config, require_checkpoint, require_data,
                                        use_amp, use_tta)
from convnext_dense.apis.predict import find_images, predict_segmentation
from convnext_dense.apis.sample import use_sample
from convnext_dense.apis.summary import print_summary

__all__ = ['ConfigError', 'allow_training_checkpoints', 'find_images', 'fit_to_machine', 'load_config',
           'predict_segmentation', 'print_summary', 'require_checkpoint', 'require_data', 'require_fit', 'use_amp',
           'use_sample', 'use_tta']
