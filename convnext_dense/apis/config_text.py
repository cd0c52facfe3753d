"""Configs as text: overrides written for a reader, and what two configs differ in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

_WIDTH = 120


def format_config(title: str, base: Sequence[str], overrides: Mapping) -> str:
    """A config in Python: a docstring, ``_base_`` and one assignment for each override."""
    settings = {'_base_': list(base), **overrides}
    return f'"""{title}"""\n' + ''.join(
        f'{name} = {format_value(value, len(name) + 3)}\n' for name, value in settings.items()
    )


def format_value(value, column: int = 0, indent: int = 0) -> str:
    """``value`` as Python that evaluates to it: in one line if it fits, else one line for each entry.

    ``column`` is where the value begins, ``indent`` that of the line which it begins on, both in characters.
    """
    text = _in_one_line(value)
    if column + len(text) < _WIDTH or not isinstance(value, (Mapping, list, tuple)) or not value:
        return text
    inner = indent + 4
    if isinstance(value, Mapping):
        heads = [f'{key}=' if _has_names(value) else f'{key!r}: ' for key in value]
        opening, closing = ('dict(', ')') if _has_names(value) else ('{', '}')
        entries = [
            head + format_value(child, inner + len(head), inner)
            for head, child in zip(heads, value.values())
        ]
    else:
        opening, closing = '[]' if isinstance(value, list) else '()'
        entries = [format_value(child, inner, inner) for child in value]
    lines = ',\n'.join(' ' * inner + entry for entry in entries)
    return f'{opening}\n{lines}{"," if opening == "(" and len(entries) == 1 else ""}{closing}'


def iter_changes(old, new, name: str = '') -> Iterator[str]:
    """Lines of a difference: ``- name = value`` for what went, ``+ name = value`` for what came; names are dotted."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f'{name}.{key}' if name else str(key)
            yield from iter_changes(old.get(key, _Nothing), new.get(key, _Nothing), inner)
    elif _are_mappings(old) and _are_mappings(new) and len(old) == len(new):
        for i, (before, after) in enumerate(zip(old, new)):
            yield from iter_changes(before, after, f'{name}.{i}')
    elif old is _Nothing or new is _Nothing or old != new:
        yield from _lines('-', name, old)
        yield from _lines('+', name, new)


class _Nothing:
    """In the place of a setting that one side does not have."""


def _lines(sign: str, name: str, value) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _lines(sign, f'{name}.{key}', child)
    elif value is not _Nothing:
        yield f'{sign} {name} = {_in_one_line(value)}'


def _in_one_line(value) -> str:
    if isinstance(value, Mapping):
        if _has_names(value):
            return (
                f'dict({", ".join(f"{key}={_in_one_line(child)}" for key, child in value.items())})'
            )
        return (
            '{' + ', '.join(f'{key!r}: {_in_one_line(child)}' for key, child in value.items()) + '}'
        )
    if isinstance(value, (list, tuple)):
        entries = ', '.join(map(_in_one_line, value))
        return (
            f'[{entries}]' if isinstance(value, list) else f'({entries}{"," * (len(value) == 1)})'
        )
    return repr(value)


def _has_names(value: Mapping) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value)


def _are_mappings(value) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(child, Mapping) for child in value)
    )
