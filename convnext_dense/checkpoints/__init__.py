"""Reading checkpoints safely and loading the authors' files strictly."""
from convnext_dense.checkpoints.io import read_checkpoint
from convnext_dense.checkpoints.pretrained import LoadReport, fits, load_pretrained, load_trunk

__all__ = ['LoadReport', 'fits', 'load_pretrained', 'load_trunk', 'read_checkpoint']
