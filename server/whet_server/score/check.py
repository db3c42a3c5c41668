"""What is wrong with the settings of a scorer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from whet_server.errors import InvalidField
from whet_server.patterns import compiled
from whet_server.score.normal import normal
from whet_server.score.spec import (
    ChoiceScorer,
    CostScorer,
    JsonScorer,
    KeywordsScorer,
    LatencyScorer,
    LengthScorer,
    MarkdownScorer,
    Normalisation,
    RegexScorer,
    RemoteScorer,
    Scorer,
)


def check_settings(scorer: Scorer, path: str) -> None:
    """Raise `InvalidField` for settings with which no item could be scored; `path` is the scorer's field."""
    if violations := tuple((f"{path}.{field}", what) for field, what in _problems(scorer)):
        raise InvalidField(*violations)


def _problems(scorer: Scorer) -> Iterator[tuple[str, str]]:
    check = _CHECKS.get(type(scorer))
    return iter(()) if check is None else check(scorer)


def _regex(scorer: RegexScorer) -> Iterator[tuple[str, str]]:
    yield from _said("regex.pattern", lambda: compiled(scorer.pattern))


def _json(scorer: JsonScorer) -> Iterator[tuple[str, str]]:
    if scorer.schema:
        from whet_server.schemas import check_schema  # loaded when somebody asks for it

        yield from _said("json.schema", lambda: check_schema(scorer.schema))


def _markdown(scorer: MarkdownScorer) -> Iterator[tuple[str, str]]:
    if scorer == MarkdownScorer():
        yield "markdown", "Say what must be there: headings, list items, code blocks, tables, or ordered_headings."


def _length(scorer: LengthScorer) -> Iterator[tuple[str, str]]:
    if not scorer.min and not scorer.max:
        yield "length", "Say the least length, the greatest, or both."
    if scorer.max and scorer.max < scorer.min:
        yield "length.max", "Must be at least the least length, or 0 for no limit."


def _remote(scorer: RemoteScorer) -> Iterator[tuple[str, str]]:
    if scorer.settings:
        yield from _said("remote.settings", lambda: msgspec.json.decode(scorer.settings))


def _said(field: str, compile_it: Callable[[], object]) -> Iterator[tuple[str, str]]:
    try:
        compile_it()
    except (ValueError, RecursionError) as error:
        yield field, str(error)


def _keywords(scorer: KeywordsScorer) -> Iterator[tuple[str, str]]:
    if not scorer.present and not scorer.absent:
        yield "keywords", "Say which words must occur, or which must not."
    for field in ("present", "absent"):
        for place, word in enumerate(getattr(scorer, field)):
            if not normal(word, scorer.normalisation):
                yield f"keywords.{field}[{place}]", "Nothing is left of this word once it is normalised."


def _choices(scorer: ChoiceScorer) -> Iterator[tuple[str, str]]:
    bare = [normal(choice, Normalisation(ignore_punctuation=True)) for choice in scorer.choices]
    for place, words in enumerate(bare):
        if not words:
            yield f"choice.choices[{place}]", "A choice needs letters or digits."
        elif words in bare[:place]:
            yield f"choice.choices[{place}]", "This choice stands here twice."


def _budget(kind: str, target: int, limit: int | None) -> Iterator[tuple[str, str]]:
    if target < 0 or (not target and limit is None):
        yield f"{kind}.target", "Say up to which amount the score is 1."
    if limit is not None and limit <= target:
        yield f"{kind}.limit", "Must be above the target."


_CHECKS: Final[Mapping[type[Scorer], Callable[[Any], Iterator[tuple[str, str]]]]] = {
    KeywordsScorer: _keywords,
    RegexScorer: _regex,
    JsonScorer: _json,
    MarkdownScorer: _markdown,
    LengthScorer: _length,
    ChoiceScorer: _choices,
    LatencyScorer: lambda scorer: _budget("latency", scorer.target_ns, scorer.limit_ns),
    CostScorer: lambda scorer: _budget("cost", scorer.target, scorer.limit),
    RemoteScorer: _remote,
}
