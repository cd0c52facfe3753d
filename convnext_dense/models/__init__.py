"""Models registered with mmengine: dense backbone, classifier, test-time augmentation."""

from convnext_dense.models.backbone import ConvNeXt
from convnext_dense.models.classifier import ConvNeXtClassifier
from convnext_dense.models.preprocessor import ClassificationDataPreprocessor
from convnext_dense.models.tta import DetTTAModel

__all__ = ['ClassificationDataPreprocessor', 'ConvNeXt', 'ConvNeXtClassifier', 'DetTTAModel']
