"""Shared by all detection runs: ``default_runtime.py`` with pictures of boxes and masks."""

_base_ = ['default_runtime.py']
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.DetectionPictureHook', count=8),
]
