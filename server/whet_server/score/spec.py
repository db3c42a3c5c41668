"""Scorers with their settings; `proto/whet/v1/scorer.proto` documents each field under its name."""

from enum import StrEnum
from typing import TypeAlias

from whet_server.values import ModelName, Nanos, Value


class Normalisation(Value):
    """How texts are made alike before they are compared."""

    case_sensitive: bool = False
    keep_whitespace: bool = False
    ignore_punctuation: bool = False
    ignore_articles: bool = False


class ExactScorer(Value, tag_field="kind", tag="exact"):
    normalisation: Normalisation = Normalisation()


class ContainsScorer(Value, tag_field="kind", tag="contains"):
    text: str = ""
    normalisation: Normalisation = Normalisation()
    absent: bool = False


class KeywordsScorer(Value, tag_field="kind", tag="keywords"):
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    normalisation: Normalisation = Normalisation()


class RegexScorer(Value, tag_field="kind", tag="regex"):
    pattern: str
    whole: bool = False
    absent: bool = False


class JsonScorer(Value, tag_field="kind", tag="json"):
    schema: str = ""
    fenced: bool = False


class MarkdownScorer(Value, tag_field="kind", tag="markdown"):
    headings: tuple[str, ...] = ()
    min_list_items: int = 0
    min_code_blocks: int = 0
    min_tables: int = 0
    ordered_headings: bool = False


class LengthScorer(Value, tag_field="kind", tag="length"):
    min: int = 0
    max: int = 0
    characters: bool = False


class NumericScorer(Value, tag_field="kind", tag="numeric"):
    tolerance: float = 0.0
    relative: float = 0.0


class ChoiceScorer(Value, tag_field="kind", tag="choice"):
    choices: tuple[str, ...] = ()


class OverlapMetric(StrEnum):
    TOKEN_F1 = "token_f1"  # noqa: S105 -- a metric's name, not a secret
    ROUGE_1 = "rouge_1"
    ROUGE_2 = "rouge_2"
    ROUGE_L = "rouge_l"
    BLEU = "bleu"
    CHRF = "chrf"
    TER = "ter"
    LEVENSHTEIN = "levenshtein"
    JARO_WINKLER = "jaro_winkler"


class OverlapScorer(Value, tag_field="kind", tag="overlap"):
    metric: OverlapMetric = OverlapMetric.TOKEN_F1
    normalisation: Normalisation = Normalisation()


class EmbeddingScorer(Value, tag_field="kind", tag="embedding"):
    model: ModelName = ModelName("")


class LatencyScorer(Value, tag_field="kind", tag="latency"):
    target_ns: int = 0
    limit_ns: int | None = None


class CostScorer(Value, tag_field="kind", tag="cost"):
    target: Nanos = Nanos(0)
    limit: Nanos | None = None


class RemoteScorer(Value, tag_field="kind", tag="remote"):
    name: str
    timeout_ns: int = 30_000_000_000
    settings: str = ""


Scorer: TypeAlias = (
    ExactScorer
    | ContainsScorer
    | KeywordsScorer
    | RegexScorer
    | JsonScorer
    | MarkdownScorer
    | LengthScorer
    | NumericScorer
    | ChoiceScorer
    | OverlapScorer
    | EmbeddingScorer
    | LatencyScorer
    | CostScorer
    | RemoteScorer
)


def kind_of(scorer: Scorer | type[Scorer]) -> str:
    """Return which scorer it is, as the field of the wire's `Scorer` is called."""
    return str(scorer.__struct_config__.tag)


def name_of(scorer: Scorer) -> str:
    """Return a scorer's name as lists have it: its kind, with the metric of an overlap and the name of a user's own."""
    match scorer:
        case OverlapScorer():
            return f"overlap:{scorer.metric}"
        case RemoteScorer():
            return f"remote:{scorer.name}"
        case _:
            return kind_of(scorer)
