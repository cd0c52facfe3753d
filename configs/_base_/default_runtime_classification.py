"""Shared by all classification runs: repeatable random numbers, images of one size."""

_base_ = ['default_runtime.py']
env_cfg = dict(cudnn_benchmark=True)
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.IterationSeedHook'),
]
randomness = dict(seed=0)  # a resumed run then draws the same numbers as an uninterrupted one
