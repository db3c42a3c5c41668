"""The one door for text that others wrote: models, tools, servers, files, errors.

What comes out holds no control character but newline and tab, no sequence that a terminal could obey, nothing that
turns the reading order round and nothing that only hides. A complete CSI sequence (a colour, a cursor movement) carries
no words and is left out. Every other control character is shown as its picture and the words that came with it stay: an
attack is seen, not swallowed.

What passed is drawn as plain segments or as Markdown, never as console markup, so `[@click=...]` stays a few letters in
brackets.
"""

import json
import re
from collections.abc import Iterable
from typing import Final, NewType

Safe = NewType("Safe", str)
"""Text that has passed the door."""

_KEPT: Final = b"\t\n"
_ASCII_CONTROLS: Final = bytes(code for code in (*range(0x20), 0x7F) if code not in _KEPT)

_REPLACEMENT: Final = "\ufffd"

_C1: Final = range(0x80, 0xA0)
_SURROGATES: Final = range(0xD800, 0xE000)
"""Half a character: cannot be encoded, so the terminal's writer would fail on it."""
_TURNERS: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Embeddings, overrides and isolates: they make a line read otherwise than it is."""
_BREAKS: Final = (0x2028, 0x2029)
_JOINERS: Final = range(0x200C, 0x200E)
"""Emoji and some scripts need one between two letters; a run of them only hides."""
_HIDDEN: Final = (
    *(0x00AD, 0x034F, 0x061C, 0x17B4, 0x17B5, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF),
    *range(0x2060, 0x2066),
    *range(0x206A, 0x2070),
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE1000),
)
"""Without width or ink: marks of direction, fillers, tags, the variation selectors that texts are smuggled in."""
_MARKS: Final = (
    *range(0x0300, 0x0370),
    *range(0x1AB0, 0x1B00),
    *range(0x1DC0, 0x1E00),
    *range(0x20D0, 0x2100),
    *range(0xFE00, 0xFE10),
    *range(0xFE20, 0xFE30),
)
"""Accents and variation selectors, which stand on the character before."""

_MARKS_KEPT: Final = 4
"""Vietnamese stacks two and phonetics three; a pile of a hundred paints over its neighbours."""


def _class(*groups: Iterable[int]) -> str:
    """A regular expression's character class over code points, with runs written as ranges, which match fastest."""
    codes = {code for group in groups for code in group}
    starts = sorted(code for code in codes if code - 1 not in codes)
    ends = sorted(code for code in codes if code + 1 not in codes)
    runs = (f"\\U{start:08x}-\\U{end:08x}" for start, end in zip(starts, ends, strict=True))
    return f"[{''.join(runs)}]"


_CSI: Final = re.compile("(?:\x1b\\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]")
"""A whole CSI sequence, in 7 or in 8 bits, of a length that occurs in life."""
_HIDDEN_RE: Final = re.compile(_class(_HIDDEN))
_JOINER_RUN: Final = re.compile(f"({_class(_JOINERS)}){_class(_JOINERS)}+")
_MARK_PILE: Final = re.compile(f"({_class(_MARKS)}{{{_MARKS_KEPT}}}){_class(_MARKS)}+")
_SUSPECT: Final = re.compile(_class(_ASCII_CONTROLS, _C1, _SURROGATES, _TURNERS, _BREAKS, _JOINERS, _HIDDEN, _MARKS))
"""Anything that needs a second look. Most text has nothing of it."""

_PICTURES: Final = {
    **{code: chr(0x2400 + code) for code in range(0x20) if code not in _KEPT},
    0x7F: "\u2421",
    **dict.fromkeys((*_C1, *_SURROGATES, *_TURNERS), _REPLACEMENT),
    **dict.fromkeys(_BREAKS, "\n"),
}


def safe(text: str) -> Safe:
    """Let text through the door. Text that has passed once passes unchanged."""
    if text.isascii():
        raw = text.encode("ascii")
        if len(raw.translate(None, _ASCII_CONTROLS)) == len(raw):
            return Safe(text)
    elif _SUSPECT.search(text) is None:
        return Safe(text)
    return Safe(_cleaned(text))


def safe_line(text: str, limit: int = 500) -> Safe:
    """The text as one line of at most `limit` characters: runs of white space become one blank."""
    line = " ".join(safe(text[: limit * 4]).split())
    return Safe(line if len(line) <= limit else line[: limit - 1] + "…")


def exact_json(text: str) -> Safe:
    """JSON with a field a line, for somebody who decides by it: what would be hidden or replaced is written as its
    escape. Other text passes as `safe`.
    """
    try:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return safe(text)
    return safe(_SUSPECT.sub(lambda found: json.dumps(found.group())[1:-1], pretty))


def _cleaned(text: str) -> str:
    text = text.replace("\r\n", "\n")
    # What only hides goes first: it could stand inside a sequence and keep it from being seen. Taking one sequence out
    # can make another; that one is shown in pictures, because to go on until there is none takes quadratic time.
    text = _CSI.sub("", _HIDDEN_RE.sub("", text)).translate(_PICTURES)
    text = _JOINER_RUN.sub(r"\1", text)
    return _MARK_PILE.sub(r"\1", text)
