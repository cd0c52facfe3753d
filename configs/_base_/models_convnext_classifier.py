"""A ConvNeXt classifier with the authors' label smoothing, mixing and erasing of images.

Source: facebookresearch/ConvNeXt main.py @ 048efce
"""

model = dict(
    type='convnext_dense.ConvNeXtClassifier',
    num_classes=1000,
    data_preprocessor=dict(
        label_smoothing=0.1,
        mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5),
        random_erasing=dict(probability=0.25, mode='pixel'),
    ),
)
