"""What became of each weight of a file and of a module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

_TITLES = {
    'reshaped': 'reshaped',
    'adapted': 'adapted',
    'fresh': 'initialized',
    'dropped': 'not used',
    'misshapen': 'WRONG SHAPE',
    'missing': 'MISSING',
    'unexpected': 'unexpected',
}


@dataclass(frozen=True)
class LoadReport:
    """The result of matching a file to a module: what to load, and what became of each name.

    A weight has our name if the module has it, else the file's name. ``str`` is a few lines for a
    log; :meth:`details` lists every name.

    Args:
        source: the file, as it was asked for.
        layout: whose names the file has ('layout timm'), and under which wrappers.
        arch: depths and widths of the file, and their name.
        values: our name -> tensor to load, in the module's shape.
        loaded: our name -> the file's name, for every tensor in ``values``.
        reshaped: those of them whose shape was changed -> how.
        adapted: those of them whose values were changed (a stem for other channels) -> how.
        fresh: our names that stay as initialized, as expected -> reason.
        dropped: the file's names that are known and not used -> reason.
        missing: our names that the file should have and does not have.
        misshapen: our names for which the file has another shape or kind of number -> which.
        extra: the file's names inside the trunk that the module's trunk does not have.
        damaged: our names for which the file holds NaN or infinity.
        unexpected: the file's other names that are unknown.
        notes: what else the reader should know, such as another epsilon.
    """

    source: str = ''
    layout: str = ''
    arch: str = ''
    values: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    loaded: Mapping[str, str] = field(default_factory=dict)
    reshaped: Mapping[str, str] = field(default_factory=dict)
    adapted: Mapping[str, str] = field(default_factory=dict)
    fresh: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    misshapen: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the file had every weight that it should have; always after strict loading."""
        return not self.missing and not self.misshapen

    def __str__(self) -> str:
        return '\n'.join(self._lines(most=4))

    def details(self) -> str:
        """Return the same text with every name."""
        return '\n'.join(self._lines(most=None))

    def _lines(self, most: int | None) -> list[str]:
        what = ', '.join(part for part in (self.layout, self.arch) if part)
        lines = [f'{self.source}: {what}', _line('loaded', f'{len(self.loaded)} tensors')]
        if most is None:
            for ours, key in self.loaded.items():
                lines.append(_line('', ours if ours == key else f'{ours} from {key}'))
        for name in ('reshaped', 'adapted', 'fresh', 'dropped', 'misshapen'):
            for reason, names in group_by_reason(getattr(self, name)).items():
                lines.append(_line(_TITLES[name], f'{shorten(names, most)} ({reason})'))
        if self.missing:
            lines.append(_line(_TITLES['missing'], shorten(self.missing, most)))
        unexpected = (*self.extra, *self.unexpected)
        if unexpected:
            lines.append(_line(_TITLES['unexpected'], shorten(unexpected, most)))
        lines += [_line('note', note) for note in self.notes]
        return lines


def shorten(names: Iterable[str], most: int | None = 4) -> str:
    """The first ``most`` names and how many more there are; 'none' if there are none."""
    names = list(names)
    if not names:
        return 'none'
    text = ', '.join(names[:most])
    if most is not None and len(names) > most:
        text += f' and {len(names) - most} more'
    return text


def group_by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Reason -> the names that have it."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return groups


def _line(title: str, text: str) -> str:
    return f'  {title:12} {text}'
