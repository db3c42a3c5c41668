"""Words that are looked for in the conversation."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

if TYPE_CHECKING:
    from whet_tui.widgets.block import Block

_FOUND: Final = Style(reverse=True)
_CURRENT: Final = Style(reverse=True, bold=True, underline=True)


class Search:
    """Where the words are, block by block, and which place is in view. Nothing is laid out to find them."""

    def __init__(self) -> None:
        self.nth = 0
        """Which of the block's own places it is, from 0."""
        self.place: int | None = None
        """The block in view."""
        self._words = ""
        self._pattern: re.Pattern[str] | None = None
        self._found: list[tuple[int, int]] = []
        self._at = 0

    @property
    def count(self) -> int:
        return len(self._found)

    @property
    def number(self) -> int:
        """Which of them is in view, from 1; 0 for none."""
        return self._at + 1 if self._found else 0

    def look(self, words: str, blocks: Sequence["Block"]) -> None:
        """Look for words. Other words than before begin at the end, the same go on where they are."""
        before = (-1 if self.place is None or words != self._words else self.place, self.nth)
        self._words, self._pattern = words, re.compile(re.escape(words), re.IGNORECASE) if words else None
        self._found = [] if self._pattern is None else list(_places(self._pattern, blocks))
        self._at = self._found.index(before) if before in self._found else max(0, len(self._found) - 1)
        self.place = None

    def move(self, step: int) -> int | None:
        """Go to another place, round the ends; return its block."""
        if not self._found:
            return None
        self._at = (self._at + step) % len(self._found)
        self.place, self.nth = self._found[self._at]
        return self.place

    def rows(self, block: "Block") -> Sequence[int]:
        """The lines of a block that show the words, each as often as it does."""
        if self._pattern is None:
            return ()
        return [row for row, line in enumerate(block.lines or ()) for _ in self._pattern.findall(line.text)]

    def marked(self, strip: Strip, *, current: bool) -> Strip:
        """A line with the words set off."""
        if self._pattern is None or self._pattern.search(strip.text) is None:
            return strip
        text, pieces, begun = strip.text, [], 0
        for found in self._pattern.finditer(text):
            start = cell_len(text[: found.start()])
            end = start + cell_len(found.group())
            pieces.append(strip.crop(begun, start))
            pieces.append(strip.crop(start, end).apply_style(_CURRENT if current else _FOUND))
            begun = end
        return Strip.join([*pieces, strip.crop(begun)])


def _places(pattern: re.Pattern[str], blocks: Sequence["Block"]) -> Iterator[tuple[int, int]]:
    """Each place as its block and which of the block's it is."""
    for place, block in enumerate(blocks):
        for nth in range(sum(len(pattern.findall(text)) for text in block.words())):
            yield place, nth
