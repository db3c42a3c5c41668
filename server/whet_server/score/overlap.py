"""How far two texts overlap: token F1, ROUGE, BLEU, chrF, TER, Levenshtein, Jaro-Winkler."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from whet_server.judging import Item
from whet_server.score.finding import DoesNotApply, Finding, at_most, candidate_of, reference_of
from whet_server.score.normal import ARTICLES, normal, without_punctuation
from whet_server.score.spec import Normalisation, OverlapMetric, OverlapScorer

Measure: TypeAlias = Callable[[str, str, Normalisation], Finding]

MAX_CHARACTERS: Final = 100_000
"""Of a text whose words are counted: some 40 pages."""
MAX_SENTENCE: Final = 20_000
"""Characters for BLEU and chrF, which are made for sentences: eight pages."""
MAX_CELLS: Final = 400_000_000
"""Of the table of an edit distance or a common subsequence, 64 of which are one step: 20,000 by 20,000."""
MAX_TER_WORDS: Final = 100
"""TER looks for shifts: a hundred shuffled words take it seconds, four hundred a minute. It is made for sentences."""
_WORD: Final = re.compile(r"[^\W_]+")


def overlap(item: Item, scorer: OverlapScorer) -> Finding:
    """Score the candidate against the reference by the metric."""
    candidate, reference = candidate_of(item), reference_of(item)
    at_most(MAX_CHARACTERS, "characters", len(candidate), len(reference))
    return _MEASURES[scorer.metric](candidate, reference, scorer.normalisation)


def token_f1(candidate: str, reference: str, how: Normalisation) -> Finding:
    """F1 over bags of words as SQuAD counts it (Rajpurkar et al. 2016): without case, punctuation and articles."""

    def words(text: str) -> list[str]:
        plain = without_punctuation(text if how.case_sensitive else text.lower())
        return [word for word in plain.split() if word.lower() not in ARTICLES]

    return _f1(words(candidate), words(reference))


def rouge_n(candidate: str, reference: str, how: Normalisation, *, n: int) -> Finding:
    """ROUGE-N as F1 (Lin 2004) over n-grams of words, without stemming."""
    grams = [_grams(_words(text, how), n) for text in (candidate, reference)]
    return _f1(*grams)


def rouge_l(candidate: str, reference: str, how: Normalisation) -> Finding:
    """ROUGE-L as F1 (Lin 2004): the longest common subsequence of the words of the whole texts, without stemming."""
    from rapidfuzz.distance import LCSseq  # loaded when somebody asks for it

    ours, theirs = _words(candidate, how), _words(reference, how)
    _few_cells(len(ours), len(theirs))
    return _harmonic(LCSseq.similarity(ours, theirs), len(ours), len(theirs))


def bleu(candidate: str, reference: str, how: Normalisation) -> Finding:
    """BLEU of one sentence as sacrebleu reports it: orders that the candidate is too short for do not count."""
    from sacrebleu.metrics.bleu import BLEU  # loaded when somebody asks for it

    at_most(MAX_SENTENCE, "characters", len(candidate), len(reference))
    return _percent(BLEU(effective_order=True).sentence_score(candidate, [reference]).score)


def chrf(candidate: str, reference: str, how: Normalisation) -> Finding:
    """chrF2 of one sentence as sacrebleu reports it."""
    from sacrebleu.metrics.chrf import CHRF  # loaded when somebody asks for it

    at_most(MAX_SENTENCE, "characters", len(candidate), len(reference))
    return _percent(CHRF().sentence_score(candidate, [reference]).score)


def ter(candidate: str, reference: str, how: Normalisation) -> Finding:
    """1 less the translation edit rate of sacrebleu, at least 0. The value is the rate."""
    from sacrebleu.metrics.ter import TER  # loaded when somebody asks for it

    at_most(MAX_TER_WORDS, "words", len(candidate.split()), len(reference.split()))
    rate = TER().sentence_score(candidate, [reference]).score / 100
    return Finding(score=min(max(1 - rate, 0.0), 1.0), value=rate)


def levenshtein(candidate: str, reference: str, how: Normalisation) -> Finding:
    """1 less the edit distance as a share of the longer text."""
    from rapidfuzz.distance import Levenshtein  # loaded when somebody asks for it

    ours, theirs = normal(candidate, how), normal(reference, how)
    _few_cells(len(ours), len(theirs))
    return _same(Levenshtein.normalized_similarity(ours, theirs))


def jaro_winkler(candidate: str, reference: str, how: Normalisation) -> Finding:
    """Jaro-Winkler similarity (Winkler 1990), with a prefix weight of 0.1."""
    from rapidfuzz.distance import JaroWinkler  # loaded when somebody asks for it

    ours, theirs = normal(candidate, how), normal(reference, how)
    _few_cells(len(ours), len(theirs))
    return _same(JaroWinkler.similarity(ours, theirs))


def _words(text: str, how: Normalisation) -> list[str]:
    return _WORD.findall(normal(text, how))


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def _f1(ours: Sequence[object], theirs: Sequence[object]) -> Finding:
    common = sum((Counter(ours) & Counter(theirs)).values())
    return _harmonic(common, len(ours), len(theirs))


def _harmonic(common: int, ours: int, theirs: int) -> Finding:
    """Return the harmonic mean of precision and recall. Raises `DoesNotApply` when there is nothing to find."""
    if not theirs:
        raise DoesNotApply("The reference has too few words for this metric.")
    score = 2 * common / (ours + theirs)
    precision = common / ours if ours else 0.0
    return Finding(score=score, value=score, rationale=f"precision {precision:.3f}, recall {common / theirs:.3f}")


def _few_cells(ours: int, theirs: int) -> None:
    if ours * theirs > MAX_CELLS:
        raise DoesNotApply(f"{ours:,} by {theirs:,} are too many to compare: at most {MAX_CELLS:,} pairs.")


def _percent(points: float) -> Finding:
    return _same(points / 100)


def _same(score: float) -> Finding:
    """Return a score that is the value itself; rounding may have carried it over an end."""
    bounded = min(max(score, 0.0), 1.0)
    return Finding(score=bounded, value=bounded)


_MEASURES: Final[Mapping[OverlapMetric, Measure]] = {
    OverlapMetric.TOKEN_F1: token_f1,
    OverlapMetric.ROUGE_1: lambda ours, theirs, how: rouge_n(ours, theirs, how, n=1),
    OverlapMetric.ROUGE_2: lambda ours, theirs, how: rouge_n(ours, theirs, how, n=2),
    OverlapMetric.ROUGE_L: rouge_l,
    OverlapMetric.BLEU: bleu,
    OverlapMetric.CHRF: chrf,
    OverlapMetric.TER: ter,
    OverlapMetric.LEVENSHTEIN: levenshtein,
    OverlapMetric.JARO_WINKLER: jaro_winkler,
}
