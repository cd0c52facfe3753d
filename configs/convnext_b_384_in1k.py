"""ConvNeXt-B at 384 x 384, from ImageNet-1k at 224, 30 epochs with layer decay 0.7: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_b_384_in1k.py 8        8 GPUs x 32 images x 2
          python tools/test.py configs/convnext_b_384_in1k.py CHECKPOINT
Cost:     88.6 M parameters, 45.0 GMACs at 384 x 384 (the authors' count)
Expected: 85.1 top-1 (the authors' score). Ours: not yet run.
"""

_base_ = [
    '_base_/models_convnext_classifier.py',
    '_base_/imagenet_384.py',
    '_base_/schedule_finetune_in1k.py',
    '_base_/default_runtime_classification.py',
]
model = dict(
    arch='base',
    drop_path_rate=0.8,
    head_init_scale=0.001,
    data_preprocessor=dict(mixup=None),
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_1k_224.pth',
    ),
)
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.7))
