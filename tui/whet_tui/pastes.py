"""Long pastes, kept aside: in the composer a placeholder stands for each, and what is sent is the whole text."""

import re
from collections.abc import Iterator
from typing import Final

_LONGEST: Final = 1_000
"""Characters of a paste that is shown as it is."""
_OWN: Final = 10
"""How much longer a text may be that the person wrote before, in the history or an editor."""
_PLACEHOLDER: Final = re.compile(r"\[pasted \d+: [\d,]+ (?:lines|characters)\]")


class Pastes:
    """The pastes of one message, by their placeholders."""

    def __init__(self, most_lines: int) -> None:
        """`most_lines`: those of a paste that is shown as it is."""
        self._most_lines = most_lines
        self._kept: dict[str, str] = {}
        self._count = 0

    def shortened(self, text: str, *, own: bool = False) -> str:
        """The text itself if it is short, else the placeholder under which it is kept from now on."""
        lines, much = len(text.removesuffix("\n").split("\n")), _OWN if own else 1
        if len(text) <= much * _LONGEST and lines <= much * self._most_lines:
            return text
        self._count += 1
        size = f"{lines:,} lines" if lines > 1 else f"{len(text):,} characters"
        placeholder = f"[pasted {self._count}: {size}]"
        self._kept[placeholder] = text
        return placeholder

    def expanded(self, text: str) -> str:
        """The text with every paste in its place."""
        return _PLACEHOLDER.sub(lambda found: self._kept.get(found[0], found[0]), text)

    def spans(self, line: str) -> Iterator[tuple[int, int]]:
        """Where placeholders stand in a line."""
        if self._kept:
            yield from (found.span() for found in _PLACEHOLDER.finditer(line) if found[0] in self._kept)

    def clear(self) -> None:
        """Forget all; the next paste is number 1 again."""
        self._kept.clear()
        self._count = 0
