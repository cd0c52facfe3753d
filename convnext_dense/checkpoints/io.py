"""Checkpoint files on disk and on the web, read without ever running code that they hold."""
from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor

_WRAPPERS = ('model', 'state_dict')


def read_checkpoint(source: str | Path) -> dict[str, Tensor]:
    """The state dict in ``source``, on the CPU: a path or URL of a .safetensors, .pth, .pt or .bin file.

    Pickled files are read with ``weights_only=True``: tensors and plain containers, nothing that runs. A state dict
    wrapped in ``model`` (the authors' files) or ``state_dict`` (OpenMMLab's) is taken out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, a damaged one, one that holds other objects than weights, or one without tensors.
    """
    content = _read(str(source))
    for name in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    state_dict = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not state_dict:
        raise ValueError(f'{source} holds no weights: expected parameter names and tensors, possibly under '
                         f'{" or ".join(_WRAPPERS)}; got {_describe(content)}')
    return state_dict


def _read(source: str):
    if source.startswith(('http://', 'https://')):
        source = _download(source)
    if not Path(source).is_file():
        raise FileNotFoundError(f'checkpoint {source} does not exist. Give the path of a file, or an https:// address.')
    try:
        if source.endswith('.safetensors'):
            from safetensors.torch import load_file
            return load_file(source)
        # The authors' training files keep their command line beside the weights; a Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(source, map_location='cpu', weights_only=True)
    except Exception as error:  # torch, pickle, zipfile and safetensors each raise their own kinds for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f'{source} cannot be read as a checkpoint ({reason}). Expected a complete .safetensors or '
                         'torch file that holds only weights: download it again, or convert it where it was made.'
                         ) from error


def _download(address: str) -> str:
    """Path of the file in torch's cache of checkpoints; fetched if it is not there yet."""
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(address).path).name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(address, str(path))  # to a temporary file, then renamed
        except OSError as error:  # urllib's errors are of this kind
            raise ValueError(f'{address} cannot be fetched ({error}). Check the address and the connection, or download '
                             'the file elsewhere and give its path.') from error
    return str(path)


def _describe(content) -> str:
    if isinstance(content, dict):
        return f'a dict with keys {list(content)[:8]}'
    return f'a {type(content).__name__}'
