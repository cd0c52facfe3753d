"""Shared by all runs: logging, hooks, environment."""

env_cfg = dict(
    cudnn_benchmark=False,  # images have many sizes: a search for each costs more than it saves
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
log_level = 'INFO'
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.SegmentationPictureHook', count=8),
]
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends)  # scalars as JSON lines
load_from = None
resume = False
