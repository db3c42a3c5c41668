"""Words as the evidence compares them: folded, lightly stemmed, numbers in one spelling.

The stemming is for English and leaves other languages as they are; Han and kana are cut into pairs of characters.
Synonyms are not known: a paraphrase in quite other words is not recognised, and is better reported as unsupported.
"""

import re
import unicodedata
from typing import Final

from whet_server.fanout.lexicon import (
    EMPTY_WORDS,
    NEGATORS,
    NOT_REALLY,
    NUMBER_WORDS,
    OPPOSITES,
    ORDINAL_ENDINGS,
    SIGNS,
)
from whet_server.values import Value

_TOKEN: Final = re.compile(
    r"(?P<number>(?:(?<![\w.)])[-\u2212])?(?:\d{1,3}(?:[, ]\d{3})+(?![\d])(?:\.\d+)?|\d+(?:[.,]\d+)*))"
    r"|(?P<sign>[%$€£])"
    r"|(?P<pairs>[\u3040-\u30ff\u3400-\u9fff]+)"
    r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)"
)
_THOUSANDS: Final = re.compile(r"-?\d{1,3}(?:[, ]\d{3})+(?:\.\d+)?$")


def fold(text: str) -> str:
    """Return the text in one case and one spelling of compatible characters and apostrophes."""
    return unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")


def number_of(text: str) -> str:
    """Return a number in one spelling: `1,000` and `1000.0` are `1000`. What is no number comes back as it is."""
    plain = text.replace("\u2212", "-").strip(" ,.")
    if _THOUSANDS.match(plain):
        plain = plain.replace(",", "").replace(" ", "")
    elif plain.count(",") == 1 and "." not in plain:
        plain = plain.replace(",", ".")
    try:
        value = float(plain)
    except ValueError:
        return plain
    if not abs(value) < 1e15:  # above it a float no longer tells neighbours apart
        return plain
    return str(int(value)) if value.is_integer() else repr(value)


def stem(word: str) -> str:
    """Return an English word without its commonest endings: `caches`, `cached` and `caching` meet in `cach`."""
    word = word.removesuffix("'s")
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "ches", "shes", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    word = _without_tense(word)
    if word.endswith("ly") and len(word) > 5:
        word = word[:-2]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _without_tense(word: str) -> str:
    for ending in ("ing", "ed"):
        bare = word.removesuffix(ending)
        if bare != word and len(bare) >= 3 and not set(bare).isdisjoint("aeiouy"):
            doubled = len(bare) > 3 and bare[-1] == bare[-2] and bare[-1] not in "lsz"
            return bare[:-1] if doubled else bare
    return word


OPPOSITE: Final = frozenset(frozenset({stem(one), stem(other)}) for one, other in OPPOSITES)
"""Pairs of stems that exclude each other."""
HAS_OPPOSITE: Final = frozenset().union(*OPPOSITE)


class Phrase(Value):
    """A sentence as the comparison sees it. `words` are stems in order, without empty words; numbers are among them."""

    words: tuple[str, ...]
    bag: frozenset[str]
    numbers: frozenset[str]
    denied: frozenset[str]
    """Stems that a negation stands before."""
    frames: frozenset[tuple[str, str, str]]
    """For each number: the stem before it, the number, the stem after it."""


def phrase(text: str) -> Phrase:
    """Return the sentence as a phrase. A sentence of empty words only keeps them, so that it can be compared at all."""
    kept: list[str] = []
    spare: list[str] = []
    denied: set[str] = set()
    numbers: set[str] = set()
    deny = False
    folded = fold(text)
    for match in _TOKEN.finditer(folded):
        kind, token = match.lastgroup, match.group()
        if kind == "word" and token in NOT_REALLY:
            deny = False
        if kind == "word" and _negates(token, folded, match.end()):
            deny = True
            continue
        if (kind == "word" and token in EMPTY_WORDS) or (token in ORDINAL_ENDINGS and kept and kept[-1] in numbers):
            spare.append(token)
            continue
        stems = _stems(kind or "", token)
        if kind == "number" or token in NUMBER_WORDS:
            numbers.update(stems)
        if deny:
            denied.add(stems[0])
            deny = False
        kept += stems
    words = tuple(kept or spare)
    return Phrase(
        words=words,
        bag=frozenset(words),
        numbers=frozenset(numbers),
        denied=frozenset(denied),
        frames=frozenset(
            (words[at - 1] if at else "", word, words[at + 1] if at + 1 < len(words) else "")
            for at, word in enumerate(words)
            if word in numbers
        ),
    )


def _negates(word: str, text: str, end: int) -> bool:
    """Whether the word denies what follows. A `no` that is followed by a mark is an answer of its own."""
    if word == "no":
        return end < len(text) and text[end] not in ",.;:!"
    return word in NEGATORS or word.endswith("n't")


def _stems(kind: str, token: str) -> list[str]:
    if kind == "number":
        return [number_of(token)]
    if kind == "sign":
        return [SIGNS[token]]
    if kind == "pairs":
        return [token[at : at + 2] for at in range(max(1, len(token) - 1))]
    return [NUMBER_WORDS.get(token) or stem(token)]
