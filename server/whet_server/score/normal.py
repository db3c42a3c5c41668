"""Texts made alike before they are compared."""

import string
import unicodedata
from typing import Final

from whet_server.score.spec import Normalisation

ARTICLES: Final = frozenset({"a", "an", "the"})


def normal(text: str, how: Normalisation) -> str:
    """Return the text without the differences that do not count. Composed and decomposed letters are always alike."""
    text = unicodedata.normalize("NFC", text)
    if not how.case_sensitive:
        text = unicodedata.normalize("NFC", text.casefold())
    if how.ignore_punctuation:
        text = without_punctuation(text)
    if how.ignore_articles:
        text = without_articles(text)
    return text if how.keep_whitespace else " ".join(text.split())


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
