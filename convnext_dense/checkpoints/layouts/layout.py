"""What a table of names is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from convnext_dense.checkpoints.layouts.pattern import Pattern
from convnext_dense.checkpoints.layouts.shapes import SAME, Shape

_ANCHOR = 'stages.0.0.dwconv.weight'


class Row(NamedTuple):
    """``theirs`` <-> ``ours``, in another ``shape``. One of the two None: known, and left out for a ``reason``."""

    theirs: Pattern | None
    ours: Pattern | None
    shape: Shape = SAME
    reason: str = ''


def make_rows(*rows: tuple) -> tuple[Row, ...]:
    """Rows of text: (theirs, ours), (theirs, ours, Shape), (theirs, None, reason) or (None, ours, reason)."""
    return tuple(_make_row(*row) for row in rows)


def _make_row(theirs: str | None, ours: str | None, extra: Shape | str | None = None) -> Row:
    patterns = [text if text is None else Pattern(text) for text in (theirs, ours)]
    return Row(*patterns, reason=extra) if isinstance(extra, str) else Row(*patterns, extra or SAME)


def _no_base(has_grn: bool, has_head: bool) -> str:
    return ''


@dataclass(frozen=True)
class Layout:
    """One library's names for a ConvNeXt.

    A key may match several rows: a tensor that stands twice on one side. All of them must then hold the same numbers.

    Args:
        name: what ``convert_state_dict`` calls it.
        about: whose files these are.
        rows: names inside the library's ``bases``.
        outside: names beside them, as a classifier's head.
        bases: what the library puts before the trunk's names; the first that fits is taken off.
        base_for: which of them to write, given whether there are GRN and a head.
        marker: a name's beginning (a regular expression) by which a file is told from another layout with the same
            names of blocks.
        dense: the layout to write instead where there are norms of the stages 0 to 2.
    """

    name: str
    about: str
    rows: tuple[Row, ...]
    outside: tuple[Row, ...] = ()
    bases: tuple[str, ...] = ('',)
    base_for: Callable[[bool, bool], str] = field(default=_no_base, repr=False)
    marker: str | None = None
    dense: str | None = None

    @cached_property
    def anchor(self) -> Pattern | None:
        """Their name of a block's depthwise weight: no two libraries share one."""
        return next(
            (row.theirs for row in self.rows if row.theirs and row.ours and row.ours.read(_ANCHOR)),
            None,
        )

    def read(self, key: str, base: str) -> list[tuple[str | None, Row]]:
        """Our names of the file's ``key``, None for one that is known and left out; empty for an unknown key."""
        return _translate(key, self.outside, '') + (
            _translate(key[len(base) :], self.rows, '') if key.startswith(base) else []
        )

    def write(self, key: str, base: str) -> list[tuple[str | None, Row]]:
        """Their names of our ``key``, None for one that they leave out; empty for one that they cannot hold."""
        return _translate(key, self._turned[0], base) + _translate(key, self._turned[1], '')

    @cached_property
    def _turned(self) -> tuple[list[Row], list[Row]]:
        rows, outside = (
            [row._replace(theirs=row.ours, ours=row.theirs) for row in table]
            for table in (self.rows, self.outside)
        )
        return rows, outside


def _translate(key: str, rows: Iterable[Row], base: str) -> list[tuple[str | None, Row]]:
    found = []
    for row in rows:
        values = row.theirs.read(key) if row.theirs else None
        if values is not None:
            found.append((base + row.ours.write(values) if row.ours else None, row))
    return found


def is_marked(layout: Layout, keys: Iterable[str]) -> bool:
    return layout.marker is None or any(re.match(layout.marker, key) for key in keys)
