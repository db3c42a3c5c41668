"""The table of scorers: what each measures, in which unit, and the function that does."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from whet_server.judging import Direction, Item
from whet_server.score import answers, budget, embedding, length, matching, overlap, structure
from whet_server.score.finding import Finding
from whet_server.score.spec import (
    ChoiceScorer,
    ContainsScorer,
    CostScorer,
    EmbeddingScorer,
    ExactScorer,
    JsonScorer,
    KeywordsScorer,
    LatencyScorer,
    LengthScorer,
    MarkdownScorer,
    NumericScorer,
    OverlapMetric,
    OverlapScorer,
    RegexScorer,
    Scorer,
    kind_of,
    name_of,
)
from whet_server.values import Value


class ScorerInfo(Value):
    """A scorer as it can be used."""

    name: str
    description: str
    unit: str = "share"
    direction: Direction = Direction.HIGHER
    needs_reference: bool = False


PURE: Final[Mapping[type[Scorer], Callable[[Item, Any], Finding]]] = {
    ExactScorer: matching.exact,
    ContainsScorer: matching.contains,
    KeywordsScorer: matching.keywords,
    RegexScorer: matching.regex,
    JsonScorer: structure.json_text,
    MarkdownScorer: structure.markdown,
    LengthScorer: length.length,
    NumericScorer: answers.numeric,
    ChoiceScorer: answers.choice,
    OverlapScorer: overlap.overlap,
    EmbeddingScorer: lambda item, _: embedding.local_cosine(item),
    LatencyScorer: budget.latency,
    CostScorer: budget.cost,
}
"""The functions that raise nothing but `DoesNotApply` for whatever text there is, and ask nobody."""

LIGHT: Final = frozenset({ExactScorer, ContainsScorer, KeywordsScorer, NumericScorer, LatencyScorer, CostScorer})
"""Those that need no library and are done at once on a short text."""

_METRICS: Final[Mapping[OverlapMetric, str]] = {
    OverlapMetric.TOKEN_F1: "F1 over the bag of words, as SQuAD counts it.",
    OverlapMetric.ROUGE_1: "ROUGE-1: F1 over words.",
    OverlapMetric.ROUGE_2: "ROUGE-2: F1 over pairs of words.",
    OverlapMetric.ROUGE_L: "ROUGE-L: F1 over the longest common subsequence of words.",
    OverlapMetric.BLEU: "BLEU of one sentence, by sacrebleu.",
    OverlapMetric.CHRF: "chrF2 of one sentence, by sacrebleu.",
    OverlapMetric.TER: "1 less the translation edit rate, by sacrebleu.",
    OverlapMetric.LEVENSHTEIN: "1 less the edit distance as a share of the longer text.",
    OverlapMetric.JARO_WINKLER: "Jaro-Winkler similarity.",
}
_LOWER: Final = Direction.LOWER
_KINDS: Final[Mapping[type[Scorer], tuple[str, str, Direction, bool]]] = {
    ExactScorer: ("The answer equals the reference.", "share", Direction.HIGHER, True),
    ContainsScorer: ("The answer contains a text, or the reference.", "share", Direction.HIGHER, False),
    KeywordsScorer: ("Words are there and others are not.", "share", Direction.HIGHER, False),
    RegexScorer: ("A regular expression of RE2 is found.", "share", Direction.HIGHER, False),
    JsonScorer: ("The answer is JSON and follows a schema.", "share", Direction.HIGHER, False),
    MarkdownScorer: ("Headings, lists, code blocks and tables are there.", "share", Direction.HIGHER, False),
    LengthScorer: ("The answer is neither too short nor too long.", "tokens", _LOWER, False),
    NumericScorer: ("The last number is near the reference's.", "difference", _LOWER, True),
    ChoiceScorer: ("The answer names the right choice.", "share", Direction.HIGHER, True),
    EmbeddingScorer: ("The meanings of answer and reference are near.", "cosine", Direction.HIGHER, True),
    LatencyScorer: ("The answer came fast.", "seconds", _LOWER, False),
    CostScorer: ("The answer was cheap.", "US dollars", _LOWER, False),
}


def info_of(scorer: Scorer) -> ScorerInfo:
    """Return what a scorer of ours is. Raises `KeyError` for a user's own."""
    if isinstance(scorer, OverlapScorer):
        rate = scorer.metric is OverlapMetric.TER
        return ScorerInfo(
            name=name_of(scorer),
            description=_METRICS[scorer.metric],
            unit="rate" if rate else "share",
            direction=_LOWER if rate else Direction.HIGHER,
            needs_reference=True,
        )
    description, unit, direction, needs_reference = _KINDS[type(scorer)]
    if isinstance(scorer, LengthScorer) and scorer.characters:
        unit = "characters"
    if isinstance(scorer, ContainsScorer):
        needs_reference = not scorer.text
    return ScorerInfo(
        name=kind_of(scorer), description=description, unit=unit, direction=direction, needs_reference=needs_reference
    )


def built_in() -> Iterator[ScorerInfo]:
    """Yield all scorers of ours, as they are without settings."""
    for kind, (description, unit, direction, needs_reference) in _KINDS.items():
        if kind is EmbeddingScorer:
            yield from (info_of(OverlapScorer(metric=metric)) for metric in OverlapMetric)
        yield ScorerInfo(
            name=kind_of(kind),
            description=description,
            unit=unit,
            direction=direction,
            needs_reference=needs_reference,
        )
