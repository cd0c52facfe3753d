"""Data sets on disk: what ADE20K, COCO and ImageNet consist of, their checks, drawn samples.

Builds no model and needs no torch. A file named after a data set describes the real one; the file
``*_sample.py`` beside it writes drawn pictures into the same files and folders.
"""

from convnext_dense.data.missing import explain_missing
from convnext_dense.data.records import CHECKED_RECORDS, RECORDS, DatasetRecord, find_record
from convnext_dense.data.sample import SAMPLE_ROOT
from convnext_dense.data.sample_folder import read_stamp

__all__ = [
    'CHECKED_RECORDS',
    'RECORDS',
    'SAMPLE_ROOT',
    'DatasetRecord',
    'explain_missing',
    'find_record',
    'read_stamp',
]
