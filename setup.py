"""The packages: convnext_dense, and configs/ as a part of it. All other settings: setup.cfg."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=['convnext_dense*']),
        # They have no __init__.py: configs are read as files, never imported.
        'convnext_dense.configs',
        'convnext_dense.configs._base_',
    ],
    package_dir={'convnext_dense.configs': 'configs'},
    package_data={'convnext_dense': ['py.typed'], 'convnext_dense.configs': ['*.yml']},
)
