"""Cut a message into steps: what is to be done after what."""

import re
from collections.abc import Sequence
from typing import Final

_QUOTED: Final = re.compile(r"[\"“][^\"”]*[\"”]")
_THEN: Final = re.compile(
    r"\s*(?:[,;.]\s*)?\b(?:and )?(?:then|after(?:wards| that| this)|next)\b,?\s+(?!\?)|\s*;\s*|(?<=\w{2})\.\s+"
    r"|\s*,\s*(?=and then\b)",
    re.IGNORECASE,
)
_AND: Final = re.compile(r"\s*,\s+and\s+|\s*,\s+|\s+and\s+", re.IGNORECASE)
_FIRST: Final = re.compile(r"^(?:first(?:ly)?|and|then)[, ]+", re.IGNORECASE)


def after_one_another(text: str) -> Sequence[str]:
    """Return what is joined by `then` and its like: whoever writes so means steps."""
    return _cut(text, _THEN)


def side_by_side(text: str) -> Sequence[str]:
    """Return what is joined by `and` or commas, which may be steps."""
    return _cut(text, _AND)


def _cut(text: str, joint: re.Pattern[str]) -> Sequence[str]:
    quoted = [found.span() for found in _QUOTED.finditer(text)]
    parts, begin = [], 0
    for found in joint.finditer(text):
        if not any(start <= found.start() < end for start, end in quoted):
            parts.append(text[begin : found.start()])
            begin = found.end()
    parts.append(text[begin:])
    return [bare for part in parts if (bare := _FIRST.sub("", part.strip()).strip())]
