"""Any library's ConvNeXt checkpoint: read safely, converted, loaded strictly."""

from convnext_dense.checkpoints.convert import Converted, convert_state_dict, to_facebook
from convnext_dense.checkpoints.detect import Found, detect_layout
from convnext_dense.checkpoints.layouts import LAYOUTS
from convnext_dense.checkpoints.load import (
    load_pretrained,
    load_trunk,
    load_weights,
    plan_weights,
)
from convnext_dense.checkpoints.match import fits
from convnext_dense.checkpoints.read import read_checkpoint
from convnext_dense.checkpoints.report import LoadReport
from convnext_dense.checkpoints.unwrap import Weights, strip_wrapping, unwrap

__all__ = [
    'LAYOUTS',
    'Converted',
    'Found',
    'LoadReport',
    'Weights',
    'convert_state_dict',
    'detect_layout',
    'fits',
    'load_pretrained',
    'load_trunk',
    'load_weights',
    'plan_weights',
    'read_checkpoint',
    'strip_wrapping',
    'to_facebook',
    'unwrap',
]
