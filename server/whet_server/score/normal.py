"""Texts made alike before they are compared."""

import string
import unicodedata
from collections.abc import Iterator
from typing import Final

from whet_server.score.spec import Normalisation

PIECE: Final = 50_000
"""Characters that are looked at in one step: two milliseconds."""
ARTICLES: Final = frozenset({"a", "an", "the"})


def normal(text: str, how: Normalisation) -> str:
    """Return the text without the differences that do not count. Composed and decomposed letters are always alike."""
    pieces = (_alike(piece, how) for piece in _pieces(text))
    return "".join(pieces if how.keep_whitespace else _squeezed(pieces))


def _alike(text: str, how: Normalisation) -> str:
    text = unicodedata.normalize("NFC", text)
    if not how.case_sensitive:
        text = unicodedata.normalize("NFC", text.casefold())
    if how.ignore_punctuation:
        text = without_punctuation(text)
    return without_articles(text) if how.ignore_articles else text


def _squeezed(pieces: Iterator[str]) -> Iterator[str]:
    """Yield the pieces with one blank for each run of white space, also for one that goes over a cut."""
    blank = begun = False
    for piece in pieces:
        words = " ".join(piece.split())
        if words:
            yield " " + words if begun and (blank or piece[0].isspace()) else words
            begun, blank = True, piece[-1].isspace()
        else:
            blank = blank or bool(piece)


def _pieces(text: str) -> Iterator[str]:
    """Yield the text in pieces between two words, so that a long one does not keep Python from other threads."""
    start = 0
    while len(text) - start > PIECE:
        cut = text.rfind(" ", start + 1, start + PIECE)
        end = cut if cut > 0 else start + PIECE
        yield text[start:end]
        start = end
    yield text[start:]


def without_punctuation(text: str) -> str:
    """Return the text without Unicode's punctuation and ASCII's symbols."""
    return text.translate({ord(char): None for char in set(text) if is_punctuation(char)})


def without_articles(text: str) -> str:
    """Return the text without English articles; white space stays as it is."""
    kept, at = [], 0
    for word in text.split():
        start = text.index(word, at)
        kept.append(text[at:start])
        kept.append("" if word.lower() in ARTICLES else word)
        at = start + len(word)
    return "".join((*kept, text[at:]))


def is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")
