"""Names with places for numbers: 'features.{2i+1}.{j}.layer_scale'."""

from __future__ import annotations

import re

_PLACE = re.compile(r'\{([0-9]?)([a-z])(?:\+([0-9]))?\}')
_NUMBER = r'0|[1-9][0-9]{0,3}'  # a name is from a file, which could ask for millions of blocks
_SPELLINGS = {'k': '[01]', 'p': 'weight|bias'}  # any other letter stands for a number


class Pattern:
    """A table's name: ``{i}`` stage, ``{j}`` block, ``{d}`` stage from 1, ``{k}`` 0 or 1, ``{p}`` weight or bias.

    ``{2i+1}`` is where a library counts in its own way: its 1, 3, 5 and 7 are the stages 0 to 3.
    """

    def __init__(self, text: str):
        self.text = text
        self._places = {
            letter: (int(scale or 1), int(offset or 0))
            for scale, letter, offset in _PLACE.findall(text)
        }
        self.regex, end = '', 0
        for place in _PLACE.finditer(text):
            spelling = _SPELLINGS.get(place[2], _NUMBER)
            self.regex += f'{re.escape(text[end : place.start()])}(?P<{place[2]}>{spelling})'
            end = place.end()
        self.regex += re.escape(text[end:])
        self._compiled = re.compile(self.regex)

    def __repr__(self) -> str:
        return f'Pattern({self.text!r})'

    def read(self, key: str) -> dict[str, int | str] | None:
        """What stands in the places of ``key``: {'i': 2, 'p': 'bias'}; None if the key is no such name."""
        match = self._compiled.fullmatch(key)
        return self.values(match) if match else None

    def values(self, match: re.Match) -> dict[str, int | str] | None:
        """As :meth:`read`, of a match of :attr:`regex`."""
        values: dict[str, int | str] = {}
        for letter, (scale, offset) in self._places.items():
            if letter == 'p':
                values[letter] = match[letter]
                continue
            number, rest = divmod(int(match[letter]) - offset, scale)
            if rest or number < (letter == 'd'):
                return None
            values[letter] = number
        return values

    def write(self, values: dict[str, int | str]) -> str:
        """The name with ``values`` in its places."""

        def fill(place: re.Match) -> str:
            scale, letter, offset = place.groups()
            value = values[letter]
            return (
                value if isinstance(value, str) else str(int(scale or 1) * value + int(offset or 0))
            )

        return _PLACE.sub(fill, self.text)
