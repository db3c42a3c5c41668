"""Where the sentences of a text begin and end, in Unicode code points.

Headings, rules and the head of a table are no sentences. A list item, a table row and a line of a quotation begin anew;
a code block is one piece. Points inside numbers, abbreviations, initials, inline code and addresses end nothing.
Chinese and Japanese sentences end at their own full stops, with no space after them.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from whet_server.fanout.lexicon import BEFORE_NUMBERS, NEVER_LAST
from whet_server.values import Value


class Sentence(Value):
    """A stretch of a text, `start` included and `end` not."""

    start: int
    end: int
    text: str
    code: bool = False


_FENCE: Final = re.compile(r"^[ \t]*(```+|~~~+)")
_RULER: Final = re.compile(r"^[ \t]*\|?[ \t:|-]*-[ \t:|-]*\|[ \t:|-]*$")
_SILENT: Final = re.compile(r"^[ \t]*(?:#{1,6}\s.*|[-*_=](?:[ \t]*[-*_=]){2,}[ \t]*$)|" + _RULER.pattern)
_MARKER: Final = re.compile(r"^(?:[ \t]*(?:>|[-*+•]|\d{1,3}[.)]|[a-zA-Z][)])[ \t]+|[ \t]*\|)+(?:\[[ xX]\][ \t]+)?")
_INLINE_CODE: Final = re.compile(r"`+[^`\n]+`+")
_END: Final = re.compile(r"""[.!?…]+["'”’»)\]*_`]*(?=\s|$)|[。！？｡]+[」』”’）]*""")
_NUMBERED: Final = re.compile(r"(?:^|[.:;!?]\s+)\d{1,3}\.$")
_INITIAL: Final = re.compile(r"(?:^|[A-Z][\w.]*\s)[A-Z]\.$")
_LAST_WORD: Final = re.compile(r"([^\s(\[\"'“*_]+)\.[\"'”’»)\]*_`]*$")


def split(text: str) -> list[Sentence]:
    """Return the sentences of a text in order; they do not overlap."""
    return [
        Sentence(start=start, end=end, text=text[start:end], code=code)
        for block_start, block_end, code in _blocks(text)
        for start, end in ([(block_start, block_end)] if code else _within(text, block_start, block_end))
    ]


def _blocks(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield paragraphs, list items, rows and code blocks as (start, end, is code)."""
    opened: str | None = None
    start: int | None = None
    at = 0
    for line, following in pairwise([*text.splitlines(keepends=True), ""]):
        end = at + len(line.rstrip())
        fence = _FENCE.match(line)
        if opened is not None:
            if fence and fence[1].startswith(opened):
                yield start or 0, end, True
                opened = start = None
        elif fence:
            if start is not None:
                yield start, at, False
            opened, start = fence[1], at
        else:
            marker = _MARKER.match(line)
            silent = not line.strip() or _SILENT.match(line) or ("|" in line and _RULER.match(following))
            if start is not None and (marker or silent):
                yield start, at, False
                start = None
            if start is None and not silent:
                start = at + (marker.end() if marker else 0)
        at += len(line)
    if start is not None:
        yield start, at, opened is not None


def _within(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences of one block."""
    masked = _INLINE_CODE.sub(lambda code: "x" * len(code[0]), text[start:end])
    begin = 0
    for match in _END.finditer(masked):
        if _ends_here(masked, begin, match):
            yield from _stripped(text, start + begin, start + match.end())
            begin = match.end()
    yield from _stripped(text, start + begin, end)


def _ends_here(masked: str, begin: int, match: re.Match[str]) -> bool:
    """Whether a sentence ends at the mark that was found."""
    after = masked[match.end() :].lstrip()
    if match[0][0] in "。！？｡" or not after:
        return True
    if after[0].islower():
        return False
    if match[0][0] != ".":
        return True
    before = masked[begin : match.end()].lstrip()
    if _NUMBERED.search(before) or _INITIAL.search(before) or _INITIAL.match(after[:2]):
        return False
    word = _LAST_WORD.search(before)
    name = word[1].casefold() if word else ""
    return name not in NEVER_LAST and not (name in BEFORE_NUMBERS and after[0].isdigit())


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the stretch without white space and the bar of a table at its ends, unless nothing is left."""
    while start < end and (text[start].isspace() or text[start] == "|"):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] == "|"):
        end -= 1
    if any(map(str.isalnum, text[start:end])):
        yield start, end
