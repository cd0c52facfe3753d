"""From the name of a checkpoint to files on this disk.

A name is a path, a folder, a web address, 'timm:NAME' or 'hf-hub:ORG/NAME'.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import torch

from convnext_dense.checkpoints.file_format import identify
from convnext_dense.errors import CheckpointError, CheckpointNotFoundError, first_line

# The first of these is taken in a folder or a repository of the Hub: safetensors before pickles.
_NAMES = (
    'model.safetensors',
    'model.safetensors.index.json',
    'open_clip_model.safetensors',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
    'open_clip_pytorch_model.bin',
)


@dataclass(frozen=True)
class Location:
    """The files of one checkpoint.

    Args:
        paths: the files; more than one if the checkpoint is split.
        names: the weights that the files of a split checkpoint must hold together.
    """

    paths: tuple[Path, ...]
    names: frozenset[str] = frozenset()


def is_remote(source: str | Path) -> bool:
    """Whether ``source`` is an address of any kind, also one that only other libraries read."""
    return '://' in str(source) or str(source).startswith(('timm:', 'hf-hub:', 'hf_hub:'))


def locate(source: str | Path) -> Location:
    """Find the files of ``source``; download them if they are not in a cache yet.

    - a path of a file, of a folder with one of the Hub's file names, or of an index of a split
      checkpoint
    - ``https://...``: stored in torch's hub folder, after a check
    - ``hf-hub:ORG/NAME``, ``hf-hub:ORG/NAME@REVISION``, ``hf-hub:ORG/NAME/FILE``: stored in
      huggingface_hub's cache
    - ``timm:NAME``: what timm loads for that model name, with or without a tag

    Raises:
        CheckpointNotFoundError: no such file or folder.
        CheckpointError: another kind of address, or one that cannot be fetched.
    """
    text = str(source)
    scheme, colon, rest = text.partition(':')
    if scheme == 'timm' and colon:
        return locate(_ask_timm(rest))
    if scheme in ('hf-hub', 'hf_hub') and colon:
        return _from_hub(rest.lstrip('/'))
    if text.startswith(('http://', 'https://')):
        return Location((_download(text),))
    path = Path(text).expanduser()
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _open_index(path, path.parent.joinpath)
    if '://' in text:
        raise CheckpointError(
            f'{text}: addresses of the kind {scheme}:// are not read. Give a path, an https:// '
            "address, 'timm:NAME' or 'hf-hub:ORG/NAME'."
        )
    raise CheckpointNotFoundError(
        f'checkpoint {text} does not exist. Give the path of a file, an https:// address, '
        "'timm:NAME' or 'hf-hub:ORG/NAME'."
    )


def _from_folder(folder: Path) -> Location:
    for name in _NAMES:
        if (folder / name).is_file():
            return _open_index(folder / name, folder.joinpath)
    there = ', '.join(sorted(path.name for path in folder.iterdir())[:8]) or 'nothing'
    raise CheckpointError(
        f'{folder} is a folder without {", ".join(_NAMES)}; it holds {there}. Give the path of one '
        'file.'
    )


def _open_index(path: Path, fetch: Callable[[str], Path]) -> Location:
    """Return ``path`` itself, or the parts that it names if it is an index.

    Args:
        path: the file.
        fetch: finds a part by its name.
    """
    if not path.name.endswith('.index.json'):
        return Location((path,))
    try:
        part_of = dict(json.loads(path.read_text(encoding='utf-8'))['weight_map'])
        parts = sorted(set(part_of.values()))
        are_beside = all(_is_part_name(part) for part in parts)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f'{path} is no index of a split checkpoint: expected JSON with weight_map'
        ) from error
    if not parts or not are_beside:
        raise CheckpointError(
            f'{path}: an index names files beside itself; this one names {parts[:4]}'
        )
    paths = tuple(Path(fetch(part)) for part in parts)
    missing = [part.name for part in paths if not part.is_file()]
    if missing:
        raise CheckpointNotFoundError(
            f'{path} is an index of {len(paths)} files, and of these '
            f'{", ".join(missing[:4])} are not beside it. Download them too.'
        )
    return Location(paths, frozenset(part_of))


def _is_part_name(part: str) -> bool:
    """Whether ``part`` names a file of weights in the same folder, and no file elsewhere."""
    return PurePosixPath(part).name == part and not part.endswith('.json')


def _download(address: str) -> Path:
    """Download to torch's hub folder, under a name for each address; keep no damaged file."""
    try:
        name = PurePosixPath(urlparse(address).path)
    except ValueError as error:
        raise CheckpointError(f'{address} is no address: {error}') from error
    # Many addresses end in the same name, pytorch_model.bin.
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    stem = name.stem or 'checkpoint'
    path = Path(torch.hub.get_dir(), 'checkpoints', f'{stem}.{digest}{name.suffix}')
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    fetched = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        torch.hub.download_url_to_file(address, str(fetched))
        identify(fetched)  # torch does not notice that a connection broke off
        os.replace(fetched, path)
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        raise CheckpointError(
            f'{address} cannot be fetched ({error}). Check the address and the connection, or '
            'download the file elsewhere and give its path.'
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f'{address} gave no checkpoint: {error}. Nothing was kept. Check the address.'
        ) from error
    finally:
        fetched.unlink(missing_ok=True)
    return path


def _from_hub(spec: str) -> Location:
    """Find ``ORG/NAME[@REVISION][/FILE]`` on the Hugging Face Hub or in its cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    parts = spec.split('/', 2)
    if len(parts) < 2 or not all(parts):
        raise CheckpointError(
            f"'hf-hub:{spec}': expected hf-hub:ORG/NAME, for example "
            'hf-hub:timm/convnext_tiny.fb_in1k'
        )
    name, _, revision = parts[1].partition('@')
    repo = f'{parts[0]}/{name}'
    is_offline = False

    def fetch(file: str) -> Path:
        path = hf_hub_download(repo, file, revision=revision or None, local_files_only=is_offline)
        return Path(path)

    names = parts[2:] or list(_NAMES)
    first_error: Exception | None = None
    for file in names:
        try:
            return _open_index(fetch(file), fetch)
        except EntryNotFoundError as error:
            # Not in the repository; or no connection, and not in the cache.
            if not is_offline:
                first_error = error
            if isinstance(error, LocalEntryNotFoundError):
                is_offline = True  # do not wait for the connection again with each name
        except CheckpointError:
            raise
        except (OSError, ValueError) as error:
            # No such repository or revision, no right to read it, or an impossible name.
            raise CheckpointError(
                f"'hf-hub:{spec}' cannot be fetched ({first_line(error)})."
            ) from error
    raise CheckpointError(
        f"'hf-hub:{spec}' cannot be fetched: none of {', '.join(names)} "
        f'({first_line(first_error)}).'
    ) from first_error


def _ask_timm(name: str) -> str:
    """Return the address of the weights that timm has for ``name``."""
    import timm

    try:
        cfg = timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        near = timm.list_models(f'{name.partition(".")[0]}*', pretrained=True)
        if not near:
            near = timm.list_models('convnext*', pretrained=True)
        raise CheckpointError(
            f"'timm:{name}': timm has no such weights. Names that it has: {', '.join(near[:8])}."
        ) from error
    if cfg is not None and cfg.hf_hub_id:
        address = f'hf-hub:{cfg.hf_hub_id}'
        if cfg.hf_hub_filename:
            address += f'/{cfg.hf_hub_filename}'
        return address
    if cfg is not None and cfg.url:
        return str(cfg.url)
    raise CheckpointError(f"'timm:{name}': timm knows the model, but has no weights for it.")
