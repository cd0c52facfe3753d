"""The layouts of ADE20K, COCO and ImageNet: writers of samples, checks, what is missing.

Builds no model.
"""
