"""Any library's ConvNeXt checkpoint: read safely, converted, loaded strictly.

``load.py`` has the pipe from a file to a module; ``layouts/`` has a table for each library.
"""

from convnext_dense.checkpoints.convert import Converted, convert_state_dict, to_facebook
from convnext_dense.checkpoints.detect import DetectedLayout, detect_layout
from convnext_dense.checkpoints.layouts import LAYOUTS
from convnext_dense.checkpoints.load import load_pretrained, load_trunk, load_weights
from convnext_dense.checkpoints.match import fits
from convnext_dense.checkpoints.read import read_checkpoint
from convnext_dense.checkpoints.report import LoadReport
from convnext_dense.checkpoints.unwrap import Weights, strip_wrapping, unwrap

__all__ = [
    'LAYOUTS',
    'Converted',
    'DetectedLayout',
    'LoadReport',
    'Weights',
    'convert_state_dict',
    'detect_layout',
    'fits',
    'load_pretrained',
    'load_trunk',
    'load_weights',
    'read_checkpoint',
    'strip_wrapping',
    'to_facebook',
    'unwrap',
]
