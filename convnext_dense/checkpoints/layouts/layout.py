"""What a layout is: a table of one library's names beside ours, used to read and to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from convnext_dense.checkpoints.layouts.shapes import SAME, Shape

_ANCHOR = 'stages.0.0.dwconv.weight'
_PLACEHOLDER = re.compile(r'\{([0-9]?)([a-z])(?:\+([0-9]))?\}')
_NUMBER = r'0|[1-9][0-9]{0,3}'  # names come from a file, which could ask for millions of blocks
_SPELLINGS = {'k': '[01]', 'p': 'weight|bias'}  # any other letter stands for a number

Values = dict[str, int | str]


class Pattern:
    """A name with placeholders: 'stages.{i}.blocks.{j}.norm.{p}'.

    ``{i}`` is a stage, ``{j}`` a block, ``{d}`` a stage from 1 on (one with a downsampling layer
    before it), ``{k}`` 0 or 1, ``{p}`` weight or bias, any other letter a number. Where a library
    counts differently, write the formula: ``{2i+1}`` is 1, 3, 5, 7 for the stages 0 to 3.
    """

    def __init__(self, text: str):
        self.text = text
        self._numbers: dict[str, tuple[int, int]] = {}  # letter -> (scale, offset)
        regex = ''
        end = 0
        for place in _PLACEHOLDER.finditer(text):
            scale, letter, offset = place.groups()
            if letter != 'p':
                self._numbers[letter] = (int(scale or 1), int(offset or 0))
            regex += re.escape(text[end : place.start()])
            regex += f'(?P<{letter}>{_SPELLINGS.get(letter, _NUMBER)})'
            end = place.end()
        regex += re.escape(text[end:])
        self._whole = re.compile(regex)
        self._at_end = re.compile(rf'(?P<prefix>(?:.*\.)?){regex}')

    def __repr__(self) -> str:
        return f'Pattern({self.text!r})'

    def read(self, name: str) -> Values | None:
        """Return the placeholders' values, {'i': 2, 'p': 'bias'}; None if ``name`` differs."""
        match = self._whole.fullmatch(name)
        return self._values(match) if match else None

    def find_prefix(self, name: str) -> str | None:
        """Return what stands before this pattern in ``name``, such as 'a.b.'; None if it is absent.

        A name that ends in '.bias' does not count where the pattern allows weight or bias.
        """
        match = self._at_end.fullmatch(name)
        values = self._values(match) if match else None
        if match is None or values is None or values.get('p') == 'bias':
            return None
        return match['prefix']

    def write(self, values: Values) -> str:
        """Return the name with ``values`` in place of the placeholders."""

        def fill(place: re.Match) -> str:
            letter = place[2]
            value = values[letter]
            if isinstance(value, str):
                return value
            scale, offset = self._numbers[letter]
            return str(scale * value + offset)

        return _PLACEHOLDER.sub(fill, self.text)

    def _values(self, match: re.Match) -> Values | None:
        values: Values = {}
        for letter, text in match.groupdict().items():
            if letter == 'p':
                values['p'] = text
            elif letter != 'prefix':
                scale, offset = self._numbers[letter]
                number, rest = divmod(int(text) - offset, scale)
                smallest = 1 if letter == 'd' else 0
                if rest or number < smallest:
                    return None
                values[letter] = number
        return values


class Row(NamedTuple):
    """``theirs`` is ``ours``, in another ``shape``.

    If one is None, the weight is left out for a ``reason``.
    """

    theirs: Pattern | None
    ours: Pattern | None
    shape: Shape = SAME
    reason: str = ''

    def swap(self) -> Row:
        """Return the row for the other direction."""
        return self._replace(theirs=self.ours, ours=self.theirs)


class Translation(NamedTuple):
    """A name in the other layout, None if the weight is left out, and the row that says so."""

    name: str | None
    row: Row


def make_rows(*rows: tuple) -> tuple[Row, ...]:
    """Make rows.

    Each is (theirs, ours), (theirs, ours, Shape), (theirs, None, reason) or (None, ours, reason).
    """
    return tuple(_make_row(*row) for row in rows)


def _make_row(theirs: str | None, ours: str | None, extra: Shape | str = SAME) -> Row:
    theirs_pattern = None if theirs is None else Pattern(theirs)
    ours_pattern = None if ours is None else Pattern(ours)
    if isinstance(extra, str):
        return Row(theirs_pattern, ours_pattern, reason=extra)
    return Row(theirs_pattern, ours_pattern, extra)


def _no_base(has_grn: bool, has_head: bool) -> str:
    return ''


@dataclass(frozen=True)
class Layout:
    """One library's names for a ConvNeXt.

    A name may match several rows: a tensor that one side stores twice. All copies must then hold
    the same numbers.

    Args:
        name: what ``convert_state_dict`` and ``--to`` call it.
        about: whose files these are.
        rows: names below the library's ``bases``.
        outside: names beside them, such as a classifier's head.
        bases: what the library may put before the trunk's names; the first that fits is removed.
        base_for: which base to write, given whether there are GRN and a head.
        marker: regular expression for the beginning of a name that only this layout has; needed
            where another layout names its blocks the same.
        dense: the layout to write instead if the weights have norms of the stages 0 to 2.
    """

    name: str
    about: str
    rows: tuple[Row, ...]
    outside: tuple[Row, ...] = ()
    bases: tuple[str, ...] = ('',)
    base_for: Callable[[bool, bool], str] = _no_base
    marker: str | None = None
    dense: str | None = None

    @cached_property
    def anchor(self) -> Pattern:
        """Their name of a block's depthwise weight, by which files are recognized."""
        for row in self.rows:
            if row.theirs and row.ours and row.ours.read(_ANCHOR):
                return row.theirs
        raise ValueError(f'layout {self.name} has no row for {_ANCHOR}')

    def is_marked(self, names: Iterable[str]) -> bool:
        """Return whether some name matches the marker; True if the layout needs none."""
        if self.marker is None:
            return True
        return any(re.match(self.marker, name) for name in names)

    def read(self, name: str, base: str) -> list[Translation]:
        """Translate a name of the file to ours; the list is empty for an unknown name."""
        found = _translate(name, self.outside)
        if name.startswith(base):
            found += _translate(name[len(base) :], self.rows)
        return found

    def write(self, name: str, base: str) -> list[Translation]:
        """Translate our name to theirs; the list is empty if this layout cannot hold the weight."""
        return _translate(name, self._rows_out, base) + _translate(name, self._outside_out)

    @cached_property
    def _rows_out(self) -> list[Row]:
        return [row.swap() for row in self.rows]

    @cached_property
    def _outside_out(self) -> list[Row]:
        return [row.swap() for row in self.outside]


def _translate(name: str, rows: Sequence[Row], base: str = '') -> list[Translation]:
    """Translate ``name`` by every row that knows it, from the first column to the second."""
    found = []
    for row in rows:
        values = row.theirs.read(name) if row.theirs else None
        if values is None:
            continue
        translated = base + row.ours.write(values) if row.ours else None
        found.append(Translation(translated, row))
    return found
