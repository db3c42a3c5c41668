"""The marks around what a synthesiser is shown as data, and their removal from what it writes.

A mark carries a digest of all the texts, so that none of them can close it and speak as somebody else. Small models
repeat marks in their answers, and not always to the letter. Every tag with that digest is left out, since no text can
hold it by chance, and so is every tag that is made as ours are, whatever its digits, also when the answer ends in it.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Final

_LONGEST: Final = 160
"""Characters after which an opened angle bracket is no mark any more: ours are far shorter, even with branch names."""
_KINDS: Final = "(?:answer|draft|question|response)"
"""What our marks are called, and what models make of them."""


class Fence:
    """The marks of one draft."""

    def __init__(self, texts: Iterable[str]) -> None:
        texts = tuple(texts)
        self.name = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
        while any(self.name in text for text in texts):  # somebody has looked long for a text that holds its own digest
            self.name = hashlib.sha256(self.name.encode()).hexdigest()[:12]

    @cached_property
    def _mark(self) -> re.Pattern[str]:
        """The marks to leave out. Made when it is needed: that takes ten times as long as to make a whole prompt."""
        return re.compile(
            rf"[ \t]*<(?:[^<>\n]*-{self.name}|/?{_KINDS}-[0-9a-f]+)[^<>\n]*>\n?|[ \t]*</?{_KINDS}-[^<>\n]*\Z"
        )

    def around(self, kind: str, text: str, *, source: str = "") -> str:
        """Return the text between marks of this kind."""
        attribute = f' from="{source}"' if source else ""
        return f"<{kind}-{self.name}{attribute}>\n{text}\n</{kind}-{self.name}>"

    def without(self, text: str) -> str:
        """Return the text without repeated marks."""
        return self._mark.sub("", text) if "<" in text else text


class Unfenced:
    """Takes a text in pieces and gives it on without repeated marks. What may be one, or the beginning of one, waits
    for the next piece, because the end of a line after a mark belongs to it.
    """

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be shown now."""
        if not self._held and "<" not in piece:
            return piece
        text = self._held + piece
        opened = text.rfind("<")
        if opened < 0 or ">" in text[opened:-1] or "\n" in text[opened:] or len(text) - opened > _LONGEST:
            self._held = ""
        else:
            text, self._held = text[:opened], text[opened:]
        return self._fence.without(text)

    def rest(self) -> str:
        """Return what still waits when the text has ended."""
        return self._fence.without(self._held)
