"""What became of each weight of a file and of a module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LoadReport:
    """What became of each name: ours where the module has it, the file's where it does not.

    ``str`` is a few lines for a log; :meth:`details` has every name.

    Attributes:
        source: the file, as it was asked for.
        layout: whose names the file has ('layout timm'), and under which wrappers they stand.
        arch: the file's depths and widths, and what they are called.
        loaded: our names that got the file's values, and the file's names.
        reshaped: of these, the ones whose shape was changed on the way; how.
        adapted: of these, the ones whose values were changed on the way (a stem for other channels); how.
        fresh: our names that stay as initialized, and are expected to: reason.
        dropped: the file's names that are known and not used here: reason.
        missing: our names that stay as initialized only because loading was not strict.
        misshapen: our names that stay so because the file has another shape or kind of number; what it has.
        unexpected: the file's names that nothing here knows.
        notes: what else the reader should know, such as another epsilon.
    """

    source: str
    layout: str
    arch: str
    loaded: Mapping[str, str] = field(default_factory=dict)
    reshaped: Mapping[str, str] = field(default_factory=dict)
    adapted: Mapping[str, str] = field(default_factory=dict)
    fresh: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    misshapen: Mapping[str, str] = field(default_factory=dict)
    unexpected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the file gave every weight that it had to give; always so after strict loading."""
        return not self.missing and not self.misshapen

    def __str__(self) -> str:
        return self._lines(most=4)

    def details(self) -> str:
        """The same with every name."""
        return self._lines(most=None)

    def _lines(self, most: int | None) -> str:
        lines = [
            ': '.join([self.source, ', '.join(filter(None, [self.layout, self.arch]))]),
            _line('loaded', f'{len(self.loaded)} tensors'),
        ]
        if most is None:
            lines += [
                _line('', name if name == key else f'{name} from {key}')
                for name, key in self.loaded.items()
            ]
        for title in ('reshaped', 'adapted', 'fresh', 'dropped', 'misshapen'):
            for reason, names in _by_reason(getattr(self, title)).items():
                lines.append(_line(_TITLES[title], f'{shorten(names, most)} ({reason})'))
        for title in ('missing', 'unexpected'):
            if getattr(self, title):
                lines.append(_line(_TITLES[title], shorten(getattr(self, title), most)))
        return '\n'.join(lines + [_line('note', note) for note in self.notes])


_TITLES = dict(
    reshaped='reshaped',
    adapted='adapted',
    fresh='initialized',
    dropped='not used',
    misshapen='WRONG SHAPE',
    missing='MISSING',
    unexpected='unexpected',
)


def shorten(names: Iterable[str], most: int | None = 4) -> str:
    """The first ``most`` names and how many more there are; 'none' for none."""
    names = list(names)
    rest = 0 if most is None else len(names) - most
    return ', '.join(names[:most]) + (f' and {rest} more' if rest > 0 else '') if names else 'none'


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return groups


def _line(title: str, text: str) -> str:
    return f'  {title:12} {text}'
