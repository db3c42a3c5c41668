"""Exact, contains, keywords, regex: is a text there."""

import unicodedata
from functools import lru_cache
from typing import Final

from whet_server.judging import Item
from whet_server.patterns import compiled
from whet_server.score.finding import DoesNotApply, Finding, candidate_of, reference_of, share, yes_or_no
from whet_server.score.normal import normal
from whet_server.score.spec import ContainsScorer, ExactScorer, KeywordsScorer, RegexScorer

MAX_LOOKS: Final = 100_000_000
"""Characters times keywords of one item: a second of looking."""
_UNSPACED: Final = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that put no blanks between words: there every place may be the edge of one."""


def exact(item: Item, scorer: ExactScorer) -> Finding:
    """1 when the candidate equals the reference."""
    candidate, reference = candidate_of(item), reference_of(item)
    return yes_or_no(normal(candidate, scorer.normalisation) == normal(reference, scorer.normalisation))


def contains(item: Item, scorer: ContainsScorer) -> Finding:
    """1 when the candidate contains the text or the reference; the other way round for `absent`."""
    candidate = candidate_of(item)
    wanted = normal(scorer.text or reference_of(item), scorer.normalisation)
    if not wanted:
        raise DoesNotApply("Nothing is left of the text to look for once it is normalised.")
    there = wanted in normal(candidate, scorer.normalisation)
    return yes_or_no(there is not scorer.absent, "found" if there else "not found")


def keywords(item: Item, scorer: KeywordsScorer) -> Finding:
    """The share of the keywords that are there, or absent, as they should be."""
    candidate = normal(candidate_of(item), scorer.normalisation)
    demands = len(scorer.present) + len(scorer.absent)
    if demands * len(candidate) > MAX_LOOKS:
        raise DoesNotApply(f"{demands} keywords are too many for a text of {len(candidate):,} characters.")
    missing = [word for word in scorer.present if not occurs(candidate, normal(word, scorer.normalisation))]
    unwanted = [word for word in scorer.absent if occurs(candidate, normal(word, scorer.normalisation))]
    said = [f"{what}: {', '.join(words)}" for what, words in (("missing", missing), ("unwanted", unwanted)) if words]
    return share(demands - len(missing) - len(unwanted), demands, "; ".join(said))


def regex(item: Item, scorer: RegexScorer) -> Finding:
    """1 when the expression is found."""
    candidate, pattern = candidate_of(item), compiled(scorer.pattern)
    found = (pattern.fullmatch if scorer.whole else pattern.search)(candidate) is not None
    return yes_or_no(found is not scorer.absent, "found" if found else "not found")


def occurs(text: str, word: str) -> bool:
    """Whether the word occurs in the text as a whole."""
    at = text.find(word) if word else -1
    while at >= 0:
        end = at + len(word)
        if not (_joined(text, at) or _joined(text, end)):
            return True
        at = text.find(word, at + 1)
    return False


def _joined(text: str, at: int) -> bool:
    """Whether the characters before and after this place belong to one word."""
    return 0 < at < len(text) and _in_word(text[at - 1]) and _in_word(text[at])


@lru_cache(maxsize=4096)
def _in_word(char: str) -> bool:
    wordy = char == "_" or unicodedata.category(char)[0] in "LMN"
    return wordy and not unicodedata.name(char, "").startswith(_UNSPACED)
