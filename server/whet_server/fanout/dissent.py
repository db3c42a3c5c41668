"""What only one branch says, and where branches contradict each other. Data beside the text, never part of it.

Two sentences of different branches are compared when they share telling words. They contradict each other when they
speak of the same thing and differ in a number of the same frame, in a negation, in a pair of opposites, or when they
settle a question differently. A claim is sole when no sentence of another branch supports it.
"""

from collections.abc import Iterable
from typing import Final

from whet_server.fanout.align import SUPPORT, Corpus, Unit, denial, opposites
from whet_server.fanout.sentences import Sentence, split
from whet_server.fanout.vote import choice
from whet_server.fanout.words import Phrase, phrase
from whet_server.log.events import Contradiction, SoleClaim, Span
from whet_server.values import BranchId

SAME_SUBJECT: Final = 0.6
"""Least share of weight that two contradicting sentences have in common, apart from what they differ in: below it they
mostly speak of different things."""
CLAIM_WORDS: Final = 2
"""A claim has at least this many words that say something: a single one is a fragment."""
MAX_SOLE_CLAIMS: Final = 50
"""A list that can still be read; the first ones of each branch are the ones that matter."""
MAX_CONTRADICTIONS: Final = 20
"""The same, and strongest first."""


def sole_claims(corpus: Corpus, final: str) -> tuple[SoleClaim, ...]:
    """Return the claims that one branch alone makes. With fewer than two branches there is nothing to compare."""
    if len({branch for unit in corpus.units for branch in unit.branches}) < 2:
        return ()
    said = [phrase(sentence.text) for sentence in split(final)]
    found: list[SoleClaim] = []
    for at, unit in enumerate(corpus.units):
        if len(found) == MAX_SOLE_CLAIMS:
            break
        if _is_claim(unit) and not _backed(corpus, at):
            in_final = any(corpus.score(sentence, unit.phrase) >= SUPPORT for sentence in said)
            found.append(SoleClaim(span=_span(*unit.places[0], 1.0), text=unit.text, in_final=in_final))
    return tuple(found)


def contradictions(corpus: Corpus) -> tuple[Contradiction, ...]:
    """Return the pairs of places where branches contradict each other, the closest ones first."""
    found = list(_choices(corpus))
    for at, left in enumerate(corpus.units):
        for other in corpus.near(left.phrase.bag):
            right = corpus.units[other]
            if other > at and len(left.branches | right.branches) > 1:
                found += _compared(corpus, left, right)
    return tuple(sorted(found, key=lambda pair: -pair.left.score)[:MAX_CONTRADICTIONS])


def _compared(corpus: Corpus, left: Unit, right: Unit) -> Iterable[Contradiction]:
    """Yield the contradiction of two sentences, if there is one."""
    kind, words = _difference(left.phrase, right.phrase)
    if not kind:
        return
    closeness = _closeness(corpus, left.phrase, right.phrase, words)
    if closeness >= SAME_SUBJECT:
        pair = next(((a, b) for a in left.places for b in right.places if a[0] != b[0]), None)
        if pair is not None:
            yield _contradiction(*pair, kind, closeness)


def _difference(left: Phrase, right: Phrase) -> tuple[str, frozenset[str]]:
    """Return how two phrases exclude each other, and by which words; an empty kind when they do not."""
    if denied := denial(left, right):
        return "negation", denied
    if opposite := opposites(left, right):
        return "antonym", opposite
    mine, theirs = left.numbers - right.numbers, right.numbers - left.numbers
    if len(mine) == len(theirs) == 1:  # with two of them, one is likely part of the subject: Python 2 and Python 3
        for before, number, after in left.frames:
            for other_before, other_number, other_after in right.frames:
                framed = (before and before == other_before) or (after and after == other_after)
                if framed and number in mine and other_number in theirs:
                    return "number", mine | theirs
    return "", frozenset()


def _closeness(corpus: Corpus, left: Phrase, right: Phrase, differing: frozenset[str]) -> float:
    """Return the weight that two phrases share over the mean of their weights, without the words they differ in."""
    mine, theirs = left.bag - differing, right.bag - differing
    whole = corpus.weight(mine) + corpus.weight(theirs)
    return 2 * corpus.weight(mine & theirs) / whole if whole else 0.0


def _choices(corpus: Corpus) -> Iterable[Contradiction]:
    """Yield the contradictions of branches that settle a question differently: the commonest choice against each other
    one.
    """
    voters: dict[str, list[BranchId]] = {}
    for branch, text in corpus.texts.items():
        if said := choice(text):
            voters.setdefault(said, []).append(branch)
    groups = sorted(voters.values(), key=lambda branches: -len(branches))
    for others in groups[1:]:
        left, right = (next(iter(split(corpus.texts[group[0]])), None) for group in (groups[0], others))
        if left and right:
            yield _contradiction((groups[0][0], left), (others[0], right), "choice", 1.0)


def _contradiction(
    left: tuple[BranchId, Sentence], right: tuple[BranchId, Sentence], kind: str, closeness: float
) -> Contradiction:
    return Contradiction(
        left=_span(*left, closeness),
        right=_span(*right, closeness),
        left_text=left[1].text,
        right_text=right[1].text,
        kind=kind,
    )


def _span(branch: BranchId, sentence: Sentence, score: float) -> Span:
    return Span(branch_id=branch, start=sentence.start, end=sentence.end, score=round(score, 3))


def _is_claim(unit: Unit) -> bool:
    """Whether a sentence of one branch states something: no code, no exclamation (greetings are), no line that only
    leads to a list.
    """
    return (
        len(unit.branches) == 1
        and not unit.code
        and len(unit.phrase.bag) >= CLAIM_WORDS
        and unit.text.rstrip("*_\"'”’)")[-1:] not in {"!", ":", "！", "："}
    )


def _backed(corpus: Corpus, at: int) -> bool:
    """Whether another branch says what the unit says, in one sentence or in several together. A part of it is not
    enough.
    """
    unit = corpus.units[at]
    said: dict[BranchId, frozenset[str]] = {}
    for _, other in corpus.supporters(unit.phrase):
        shared = unit.phrase.bag & corpus.units[other].phrase.bag
        for branch in corpus.units[other].branches - unit.branches:
            said[branch] = said.get(branch, frozenset()) | shared
    needed = SUPPORT * corpus.weight(unit.phrase.bag)
    return any(corpus.weight(words) >= needed for words in said.values())
