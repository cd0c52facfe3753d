"""Reading checkpoints safely and loading the authors' files strictly."""
from convnext_dense.checkpoints.io import read_checkpoint
from convnext_dense.checkpoints.pretrained import LoadReport, load_pretrained, load_trunk

__all__ = ['LoadReport', 'load_pretrained', 'load_trunk', 'read_checkpoint']
