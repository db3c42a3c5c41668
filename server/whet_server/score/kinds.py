"""The table of scorers: what each measures, in which unit, and the function that does."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

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


class _Kind(NamedTuple):
    """A kind of scorer. `measure` raises nothing but `DoesNotApply` for whatever text there is, and asks nobody."""

    measure: Callable[[Item, Any], Finding]
    description: str
    unit: str = "share"
    direction: Direction = Direction.HIGHER
    needs_reference: bool = False


KINDS: Final[Mapping[type[Scorer], _Kind]] = {
    ExactScorer: _Kind(matching.exact, "The answer equals the reference.", needs_reference=True),
    ContainsScorer: _Kind(matching.contains, "The answer contains a text, or the reference."),
    KeywordsScorer: _Kind(matching.keywords, "Words are there and others are not."),
    RegexScorer: _Kind(matching.regex, "A regular expression of RE2 is found."),
    JsonScorer: _Kind(structure.json_text, "The answer is JSON and follows a schema."),
    MarkdownScorer: _Kind(structure.markdown, "Headings, lists, code blocks and tables are there."),
    LengthScorer: _Kind(length.length, "The answer is neither too short nor too long.", "tokens", _LOWER),
    NumericScorer: _Kind(answers.numeric, "The last number is near the reference's.", "difference", _LOWER, True),
    ChoiceScorer: _Kind(answers.choice, "The answer names the right choice.", needs_reference=True),
    OverlapScorer: _Kind(overlap.overlap, "", needs_reference=True),
    EmbeddingScorer: _Kind(
        lambda item, _: embedding.local_cosine(item),
        "The meanings of answer and reference are near.",
        "cosine",
        needs_reference=True,
    ),
    LatencyScorer: _Kind(budget.latency, "The answer came fast.", "seconds", _LOWER),
    CostScorer: _Kind(budget.cost, "The answer was cheap.", "US dollars", _LOWER),
}


def measure(scorer: Scorer, item: Item) -> Finding:
    """Score an item by a scorer of ours, without asking anybody. Raises nothing but `DoesNotApply`."""
    return KINDS[type(scorer)].measure(item, scorer)


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
    info = _info(type(scorer))
    if isinstance(scorer, LengthScorer) and scorer.characters:
        return replace(info, unit="characters")
    if isinstance(scorer, ContainsScorer):
        return replace(info, needs_reference=not scorer.text)
    return info


def _info(kind: type[Scorer]) -> ScorerInfo:
    _, description, unit, direction, needs_reference = KINDS[kind]
    return ScorerInfo(
        name=kind_of(kind), description=description, unit=unit, direction=direction, needs_reference=needs_reference
    )


def built_in() -> Iterator[ScorerInfo]:
    """Yield all scorers of ours, as they are without settings."""
    for kind in KINDS:
        if kind is OverlapScorer:
            yield from (info_of(OverlapScorer(metric=metric)) for metric in OverlapMetric)
        else:
            yield _info(kind)
