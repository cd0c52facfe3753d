"""Checkpoints of whole models and runs: read safely by mmengine, matched strictly, resumed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader
from torch import nn

from convnext_dense.checkpoints import LoadReport, unwrap
from convnext_dense.checkpoints.file_format import identify
from convnext_dense.checkpoints.load import match_weights
from convnext_dense.checkpoints.match import Rules, find_trunks
from convnext_dense.checkpoints.read import read_file
from convnext_dense.errors import CheckpointError, ConfigError

# Path as it was given -> what mmengine gets when it asks for that path next.
_prepared: dict[str, dict] = {}
# The argument of the last call of allow_training_checkpoints.
_trust_pickle = False


def allow_training_checkpoints(trust_pickle: bool = False) -> None:
    """From now on let mmengine, in this process, read checkpoints by our reader.

    This holds for ``load_from``, ``resume`` and any ``init_cfg``. In a script of your own, call it
    before the Runner is built. It is needed because mmengine 0.10.7 cannot resume with torch >= 2.6
    at all (a checkpoint holds log histories), and OneDL's mmengine runs the code in a file that the
    safe loader refuses. Our reader reads the files of both, and knows 'hf-hub:ORG/NAME'. Downloads
    are stored in torch's hub folder. mmengine's other ways to torch.load (s3://, open-mmlab://)
    are closed by an environment variable of torch.

    Args:
        trust_pickle: RUN THE CODE that a refused file holds, with a warning; the other ways of
            mmengine stay open.
    """
    global _trust_pickle
    _trust_pickle = trust_pickle
    HistoryBuffer()  # registers the names of its methods
    allow = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'builtins.getattr': _get_history_method,
    }

    # mmengine logs the part of the name from 'checked' on.
    def load_from_checked(filename: str, map_location: Any = None, **_: Any) -> dict:
        if filename in _prepared:
            return _prepared.pop(filename)
        # Not mapped into memory: an optimizer writes to the tensors that it resumes from.
        return read_file(filename, _trust_pickle, mmap=False, allow=allow)

    if not trust_pickle:
        os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
        os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)  # torch refuses to load with both
    schemes = ['', 'http://', 'https://', 'file://', 'timm:', 'hf-hub:', 'hf_hub:']
    CheckpointLoader.register_scheme(schemes, load_from_checked, force=True)


def require_fit(model: nn.Module, checkpoint: str) -> dict:
    """Load a file in any known layout into ``model``; stop if a weight of the model is missing.

    The file is read once: when mmengine loads ``checkpoint`` next, it gets what was loaded here.
    Its own loading only warns of missing weights.

    Args:
        model: the model, possibly inside DistributedDataParallel or test-time augmentation.
        checkpoint: path or address.

    Returns:
        ``state_dict``: that of ``model``; ``meta``: the file's, or empty.

    Raises:
        ConfigError: the file cannot be read as weights, or a weight of the model is missing or has
            another shape.
    """
    model = getattr(model, 'module', model)
    advice = 'Give the config that trained it.'
    content, report = _match(model, checkpoint, Rules(exact=True), advice)
    # Not strict, because the values are checked: they are all of the model's weights.
    model.load_state_dict(dict(report.values), strict=False)
    meta = content.get('meta') if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        meta = {}
    _prepared[checkpoint] = dict(state_dict=model.state_dict(), meta=meta)
    return _prepared[checkpoint]


def prepare_load_from(model: nn.Module, checkpoint: str) -> None:
    """Let mmengine's ``load_from`` take a file in any known layout, strictly.

    What mmengine loads next for ``checkpoint`` is prepared here. A last layer for another number of
    classes stays as initialized, and the log says so. A model without a ConvNeXt of ours is left to
    mmengine, which loads what fits and warns of the rest.

    Args:
        model: as in :func:`require_fit`.
        checkpoint: path or address.

    Raises:
        ConfigError: as in :func:`require_fit`.
    """
    model = getattr(model, 'module', model)
    if not find_trunks(model.state_dict()):
        return
    advice = 'Take load_from out of the config, or give a file of the same model.'
    _, report = _match(model, checkpoint, Rules(), advice)
    _prepared[checkpoint] = dict(state_dict=dict(report.values), meta={})


def keep_checkpoints_safe(cfg: Config) -> None:
    """Let ``convnext_dense.CheckpointHook`` write the checkpoints instead of mmengine's hook."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('checkpoint', ConfigDict(interval=1))
    if hook is None:
        return
    if hook.get('type', 'CheckpointHook') in ('CheckpointHook', 'mmengine.CheckpointHook'):
        hook.type = 'convnext_dense.CheckpointHook'


def resume_last(cfg: Config) -> str | None:
    """Let a run continue from the last complete checkpoint in its work dir.

    This is the one that ``last_checkpoint`` names or, if a crash destroyed that, the one with the
    highest number.

    Returns:
        The path of the checkpoint; None if there is none.
    """
    for path in _list_candidates(Path(cfg.work_dir)):
        if not path.is_file():
            continue
        try:
            identify(path)
        except CheckpointError as error:
            print_log(f'--resume: {path} is skipped: {error}')
            continue
        cfg.resume = True
        cfg.load_from = str(path)
        return str(path)
    cfg.resume = False
    return None


def _match(model: nn.Module, checkpoint: str, rules: Rules, advice: str) -> tuple[Any, LoadReport]:
    """Read a file and match it to ``model``; log the report."""
    try:
        content = read_file(checkpoint, _trust_pickle)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    try:
        report = match_weights(model, unwrap(content), checkpoint, rules)
    except ValueError as error:
        message = str(error)
        if 'does not fit the model' not in message:
            message = f'{checkpoint} does not fit the model: {message}.'
        raise ConfigError(f'{message} {advice}') from error
    print_log(str(report), logger='current')
    return content, report


def _list_candidates(folder: Path) -> list[Path]:
    """Checkpoints to resume from, the best first."""
    candidates = []
    note = folder / 'last_checkpoint'
    if note.is_file():
        named = note.read_text(errors='replace').strip()
        if named:
            candidates += [Path(named), folder / Path(named).name]
    numbered = []
    for path in folder.glob('*_*.pth'):
        match = re.fullmatch(r'(?:iter|epoch)_(\d+)', path.stem)
        if match:
            numbered.append((int(match[1]), path))
    numbered.sort(reverse=True)
    return candidates + [path for _, path in numbered]


def _get_history_method(owner: Any, name: str) -> Any:
    """``getattr`` for the statistics of HistoryBuffer only: the general one could run code."""
    if owner is not HistoryBuffer or name not in HistoryBuffer._statistics_methods:
        raise ValueError(
            f'a checkpoint of mmengine names {name!r} of {owner!r}: no statistic of a log history'
        )
    return HistoryBuffer._statistics_methods[name]
