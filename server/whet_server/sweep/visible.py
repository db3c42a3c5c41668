"""Texts that others wrote, before they are shown in a file that people read."""

import re
from typing import Final

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""Controls but newline and tab, marks without width, what turns the reading order round, and half characters."""


def visible(text: str) -> str:
    """Return a text in which nothing hides or turns the reading order: what would is shown as its code point."""
    return _UNSEEN.sub(lambda found: f"[U+{ord(found.group()):04X}]", text.replace("\r\n", "\n"))
