"""Checkpoints of whole models and runs: read by mmengine without running code, fitting the model, safe from crashes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader
from torch import nn

from convnext_dense.apis.config import ConfigError
from convnext_dense.checkpoints import plan_weights, unwrap
from convnext_dense.checkpoints.errors import CheckpointError
from convnext_dense.checkpoints.file_format import identify
from convnext_dense.checkpoints.match import Rules, find_trunks
from convnext_dense.checkpoints.read import read_file

_prepared: dict[
    str, dict
] = {}  # by the path as it was given: what require_fit read, until mmengine asks for it
_trusting = False  # as the last call of allow_training_checkpoints said


def allow_training_checkpoints(trust_pickle: bool = False) -> None:
    """From here on mmengine, in this process, reads by our reader: ``load_from``, ``resume`` and any ``init_cfg``.

    One call in a script of your own, before its Runner is built, gives the same. mmengine 0.10.7 cannot resume with
    torch >= 2.6 at all, as a checkpoint holds log histories; OneDL's mmengine, when the safe loader refuses a file,
    takes another that runs what the file holds. Ours reads both stacks' files and knows 'hf-hub:ORG/NAME'. Downloads
    are kept in torch's hub folder, not in mmengine's. The environment variable of torch shuts mmengine's other ways to
    torch.load (s3://, open-mmlab://, ...).

    Args:
        trust_pickle: RUN THE CODE that a refused file holds, with a warning; mmengine's other ways stay as they are.
    """
    global _trusting
    _trusting = trust_pickle
    HistoryBuffer()  # registers the names of its methods
    allow = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'builtins.getattr': _get_history_method,
    }

    def load_from_checked(
        filename: str, map_location=None, **_
    ) -> dict:  # mmengine logs the name from 'checked' on
        if filename in _prepared:
            return _prepared.pop(filename)
        # Not mapped: an optimizer works on in the tensors that it resumes from.
        return read_file(filename, _trusting, mmap=False, allow=allow)

    if not trust_pickle:
        os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
        os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)  # torch refuses to load with both
    CheckpointLoader.register_scheme(
        ['', 'http://', 'https://', 'file://', 'timm:', 'hf-hub:', 'hf_hub:'],
        load_from_checked,
        force=True,
    )


def require_fit(model: nn.Module, checkpoint: str) -> dict:
    """Load a file into ``model``, in any layout that is known, and stop when a weight of the model is not in it.

    The file is read once: mmengine, when it loads ``checkpoint`` next, is given what was loaded here. Its own loading
    only warns of what is missing.

    Returns:
        ``state_dict``, that of ``model``, and ``meta``, the file's or empty.

    Raises:
        ConfigError: the file cannot be read as weights, or a weight of the model is missing or has another shape.
    """
    model = getattr(model, 'module', model)  # DDP and test-time augmentation hold the model so
    content, values = _plan(
        model, checkpoint, Rules(exact=True), 'Give the config that trained it.'
    )
    model.load_state_dict(values, strict=False)  # all of its weights, or _plan had refused
    meta = content.get('meta') if isinstance(content, dict) else None
    _prepared[checkpoint] = dict(
        state_dict=model.state_dict(), meta=meta if isinstance(meta, dict) else {}
    )
    return _prepared[checkpoint]


def prepare_load_from(model: nn.Module, checkpoint: str) -> None:
    """Let mmengine's ``load_from`` take a file in any layout, strictly: what mmengine loads next is made here.

    A last layer for another number of classes stays as initialized, and the log says so. A model without a ConvNeXt of
    ours is left to mmengine, which loads what fits and warns of the rest.

    Raises:
        ConfigError: as :func:`require_fit`.
    """
    model = getattr(model, 'module', model)
    if find_trunks(model.state_dict()):
        advice = 'Take load_from out of the config, or give a file of the same model.'
        _prepared[checkpoint] = dict(
            state_dict=_plan(model, checkpoint, Rules(), advice)[1], meta={}
        )


def _plan(model: nn.Module, checkpoint: str, rules: Rules, advice: str) -> tuple[object, dict]:
    """A file's content, and its weights in the names of ``model``; what became of each is logged."""
    try:
        content = read_file(checkpoint, _trusting)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    try:
        values, report = plan_weights(model, unwrap(content), checkpoint, rules)
    except ValueError as error:
        said = str(error)
        if 'does not fit the model' not in said:
            said = f'{checkpoint} does not fit the model: {said}.'
        raise ConfigError(f'{said} {advice}') from error
    print_log(str(report), logger='current')
    return content, values


def keep_checkpoints_safe(cfg: Config) -> None:
    """Let ``convnext_dense.CheckpointHook`` write the checkpoints where the config names mmengine's hook, or none."""
    hook = cfg.setdefault('default_hooks', ConfigDict()).setdefault(
        'checkpoint', ConfigDict(interval=1)
    )
    if hook is not None and hook.get('type', 'CheckpointHook') in (
        'CheckpointHook',
        'mmengine.CheckpointHook',
    ):
        hook.type = 'convnext_dense.CheckpointHook'


def resume_last(cfg: Config) -> str | None:
    """Let a run go on from the last complete checkpoint in its work dir; returns which, or None where there is none.

    That is the one in ``last_checkpoint``, or, if a crash took that or its file, the one with the highest number.
    """
    folder = Path(cfg.work_dir)
    note = folder / 'last_checkpoint'
    named = note.read_text(errors='replace').strip() if note.is_file() else ''
    others = sorted(folder.glob('*_*.pth'), key=_number, reverse=True)
    candidates = [Path(named), folder / Path(named).name] if named else []
    for path in [
        *candidates,
        *(path for path in others if re.fullmatch(r'(iter|epoch)_\d+', path.stem)),
    ]:
        if not path.is_file():
            continue
        try:
            identify(path)
        except CheckpointError as error:
            print_log(f'--resume: {path} is passed over: {error}')
            continue
        cfg.resume, cfg.load_from = True, str(path)
        return str(path)
    cfg.resume = False
    return None


def _number(path: Path) -> int:
    return int((re.findall(r'\d+', path.stem) or [-1])[-1])


def _get_history_method(owner, name: str):
    """``getattr`` for HistoryBuffer's statistics alone: the general one would open a way to run code."""
    if owner is not HistoryBuffer or name not in HistoryBuffer._statistics_methods:
        raise ValueError(
            f'a checkpoint of mmengine names {name!r} of {owner!r}: no statistic of a log history'
        )
    return HistoryBuffer._statistics_methods[name]
