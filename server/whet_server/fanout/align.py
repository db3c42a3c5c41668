"""Which branch says what the final text says: alignment of words, never a model's word.

Every sentence of the final is compared with the sentences of the branches. The overlap weighs each word by how rare it
is among the branches' sentences (inverse document frequency), asks that numbers, negations and opposites agree, and
gives a little for the same order. A branch sentence also supports a final sentence that says more than itself, if
nearly all of it is in there.

The work is bounded: MAX_SENTENCES sentences in all are compared, shared evenly among the branches, and a sentence that
many branches say word for word is compared once.
"""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from whet_server.fanout.sentences import Sentence, split
from whet_server.fanout.words import HAS_OPPOSITE, OPPOSITE, Phrase, phrase
from whet_server.log.events import Span, SupportedSentence
from whet_server.values import BranchId, Value

SUPPORT: Final = 0.55
"""Least score of a support. On the labelled cases of tests/server/fanout lower values begin to accept sentences about
the same subject that say something else, and higher ones to lose reworded sentences."""
MAX_SPANS: Final = 5
"""Most spans that are named for a sentence: more than a reader opens."""
SPANS_OF_ONE_BRANCH: Final = 2
"""One branch may say a thing in two sentences; more places of the same branch would hide the other branches."""
MAX_SENTENCES: Final = 1_500
"""Branch sentences that are compared: the alignment of so many takes about a second of one core at the worst."""
MAX_FINAL_SENTENCES: Final = 300
"""Sentences of the final that get support: some 40,000 characters; later ones are listed without."""

_PART_OF_BRANCH: Final = 0.8
"""A branch sentence counts as contained in a longer final sentence from this share of its weight on."""
_PART_OF_FINAL: Final = 0.25
"""And only if it makes up this share of the final sentence: two common words of a long sentence support nothing."""
_PART_WORDS: Final = 2
"""And if it has this many words: a single one is contained anywhere."""
_CODE: Final = 0.8
"""Least score between two pieces of code: they share keywords and common names without saying the same."""
_PART_FACTOR: Final = 0.9
"""Support of a part is worth a little less than support of the whole."""
_ORDER: Final = 0.2
"""What the order of the words can take from a score: overlap decides, order breaks ties."""
_QUESTIONS: Final = ("?", "？")
"""A sentence that ends so claims nothing and supports nothing."""


class Unit(Value):
    """A sentence of the branches, with every place where it is said word for word."""

    phrase: Phrase
    text: str
    places: tuple[tuple[BranchId, Sentence], ...]

    @property
    def code(self) -> bool:
        return self.places[0][1].code

    @property
    def branches(self) -> frozenset[BranchId]:
        return frozenset(branch for branch, _ in self.places)


class Corpus:
    """The sentences of all branches, ready to be compared."""

    def __init__(self, texts: Mapping[BranchId, str]) -> None:
        self.texts = dict(list(texts.items())[:MAX_SENTENCES])
        places: dict[tuple[str, ...], list[tuple[BranchId, Sentence]]] = defaultdict(list)
        phrases: dict[tuple[str, ...], Phrase] = {}
        share = max(1, MAX_SENTENCES // max(1, len(texts)))
        known: dict[str, Phrase] = {}
        for branch, text in self.texts.items():
            for sentence in [found for found in split(text) if not found.text.endswith(_QUESTIONS)][:share]:
                said = known.get(sentence.text) or known.setdefault(sentence.text, phrase(sentence.text))
                key = (*said.words, str(sentence.code), *sorted(said.denied))
                phrases[key] = said
                places[key].append((branch, sentence))
        self.units = tuple(
            Unit(phrase=phrases[key], text=found[0][1].text, places=tuple(found)) for key, found in places.items()
        )
        self._count = len(self.units)
        self._spread = Counter(word for unit in self.units for word in unit.phrase.bag)
        self._holders: dict[str, list[int]] = defaultdict(list)
        for at, unit in enumerate(self.units):
            for word in unit.phrase.bag:
                self._holders[word].append(at)

    def weight(self, words: Iterable[str]) -> float:
        """Return how much these words say together."""
        return sum(math.log(1 + self._count / (self._spread[word] or 0.5)) for word in words)

    def near(self, words: Iterable[str]) -> Iterable[int]:
        """Return the units that share a telling word: of a large corpus, words that every eighth sentence has are left
        out, because they tell nothing and would compare everything with everything.
        """
        most = max(200, self._count // 8)
        found: set[int] = set()
        for word in words:
            holders = self._holders.get(word, ())
            if len(holders) <= most:
                found.update(holders)
        return found

    def _covered(self, claim: Phrase, source: Phrase) -> float:
        """Return how much of `claim` is said by `source`, 0 to 1; 0 when they exclude each other."""
        shared = claim.bag & source.bag
        if not shared or not claim.numbers <= source.numbers or opposed(claim, source):
            return 0.0
        return self._ordered(claim, source, shared, self.weight(shared) / self.weight(claim.bag))

    def score(self, claim: Phrase, source: Phrase) -> float:
        """Return how well `source` supports `claim`, wholly or as a part of it, 0 to 1."""
        return max(self._covered(claim, source), self._part(claim, source))

    def supporters(self, claim: Phrase, *, code: bool = False) -> list[tuple[float, int]]:
        """Return (score, unit) of what supports the claim, best first. Code is compared with code only."""
        least = _CODE if code else SUPPORT
        candidates = ((at, self.units[at]) for at in self.near(claim.bag))
        scored = [(self.score(claim, unit.phrase), at) for at, unit in candidates if unit.code == code]
        return sorted((pair for pair in scored if pair[0] >= least), key=lambda pair: (-pair[0], pair[1]))

    def _part(self, claim: Phrase, source: Phrase) -> float:
        """Return how well `source` supports a claim that says more than it does."""
        if len(source.bag) < _PART_WORDS or not source.numbers <= claim.numbers or opposed(claim, source):
            return 0.0
        shared = claim.bag & source.bag
        common, whole = self.weight(shared), self.weight(source.bag)
        if common < _PART_OF_BRANCH * whole or common < _PART_OF_FINAL * self.weight(claim.bag):
            return 0.0
        return self._ordered(claim, source, shared, _PART_FACTOR * common / whole)

    def _ordered(self, claim: Phrase, source: Phrase, shared: frozenset[str], overlap: float) -> float:
        if overlap < SUPPORT:  # the order takes from a score and never adds: what is below stays below
            return overlap
        return overlap * (1 - _ORDER + _ORDER * _same_order(claim.words, source.words, shared))


def support(final: str, corpus: Corpus) -> tuple[SupportedSentence, ...]:
    """Return every sentence of the final with the branch spans that support it, best first."""
    return tuple(
        SupportedSentence(
            start=sentence.start,
            end=sentence.end,
            support=_spans(corpus, sentence) if at < MAX_FINAL_SENTENCES else (),
        )
        for at, sentence in enumerate(split(final))
    )


def opposed(one: Phrase, other: Phrase) -> bool:
    """Whether one denies a word that the other affirms, or they use words that exclude each other."""
    return bool(denial(one, other)) or bool(opposites(one, other))


def denial(one: Phrase, other: Phrase) -> frozenset[str]:
    """Return the words that both use and only one of them denies."""
    return (one.denied ^ other.denied) & one.bag & other.bag


def opposites(one: Phrase, other: Phrase) -> frozenset[str]:
    """Return the opposite words by which two phrases differ."""
    mine, theirs = (one.bag - other.bag) & HAS_OPPOSITE, (other.bag - one.bag) & HAS_OPPOSITE
    return frozenset(word for left in mine for right in theirs for word in (left, right) if {left, right} in OPPOSITE)


def _same_order(claim: Sequence[str], source: Sequence[str], shared: frozenset[str]) -> float:
    """Return the share of the common words that stand in the same order: the longest rising run of their places."""
    places = {word: at for at, word in reversed(list(enumerate(source)))}
    rising: list[int] = []
    for word in dict.fromkeys(claim):
        if word in shared:
            slot = bisect_left(rising, places[word])
            rising[slot : slot + 1] = [places[word]]
    return len(rising) / len(shared)


def _spans(corpus: Corpus, claim: Sentence) -> tuple[Span, ...]:
    """Return the best places that support the claim, with few of any one branch so that others are seen."""
    named: list[Span] = []
    heard: Counter[BranchId] = Counter()
    for score, at in corpus.supporters(phrase(claim.text), code=claim.code):
        for branch, sentence in corpus.units[at].places:
            if heard[branch] < SPANS_OF_ONE_BRANCH and len(named) < MAX_SPANS:
                heard[branch] += 1
                named.append(Span(branch_id=branch, start=sentence.start, end=sentence.end, score=round(score, 3)))
    return tuple(named)
