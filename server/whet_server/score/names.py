"""Scorers by name with an argument, as people write them: `exact`, `overlap:rouge_l`, `regex:^[0-9]+$`."""

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

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
    RemoteScorer,
    Scorer,
)
from whet_server.values import NANOS_PER_USD, ModelName, Nanos

_REMOTE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_LENGTH: Final = re.compile(r"(\d{0,8})-(\d{0,8})")
_MAX_USD: Final = 1_000_000


def named(text: str) -> Scorer:
    """Return the scorer that a name with an argument stands for. Raises `ValueError` with what is wrong."""
    name, _, argument = text.strip().partition(":")
    make = _MADE.get(name)
    if make is None:
        raise ValueError(f"There is no scorer {name[:100]!r}. There are {', '.join(_MADE)}.")
    return make(argument)


def _exact(argument: str) -> Scorer:
    if argument:
        raise ValueError("exact takes no argument: it compares with the item's reference.")
    return ExactScorer()


def _regex(argument: str) -> Scorer:
    if not argument:
        raise ValueError("Say the expression: regex:^[0-9]+$")
    return RegexScorer(pattern=argument)


def _keywords(argument: str) -> Scorer:
    words = _list(argument)
    if not words:
        raise ValueError("Say the words, -word for one that must not occur: keywords:budget,owner,-tbd")
    return KeywordsScorer(
        present=tuple(word for word in words if not word.startswith("-")),
        absent=tuple(word[1:] for word in words if word.startswith("-")),
    )


def _markdown(argument: str) -> Scorer:
    headings = _list(argument)
    if not headings:
        raise ValueError("Say the headings that must be there: markdown:Summary,Risks")
    return MarkdownScorer(headings=headings)


def _length(argument: str) -> Scorer:
    found = _LENGTH.fullmatch(argument) or _LENGTH.fullmatch(f"-{argument}")
    if found is None or not (found[1] or found[2]):
        raise ValueError("Say the bounds in tokens: length:20-100, length:20- or length:100")
    return LengthScorer(min=int(found[1] or 0), max=int(found[2] or 0))


def _numeric(argument: str) -> Scorer:
    share = argument.endswith("%")
    number = _number(argument.removesuffix("%") or "0", "Say the tolerance: numeric:0.01 or numeric:1%")
    if share and number > 100:
        raise ValueError("Say a tolerance of at most 100%: numeric:1%")
    return NumericScorer(relative=number / 100) if share else NumericScorer(tolerance=number)


def _overlap(argument: str) -> Scorer:
    if argument and argument not in set(OverlapMetric):
        raise ValueError(f"There is no metric {argument[:100]!r}. There are {', '.join(OverlapMetric)}.")
    return OverlapScorer(metric=OverlapMetric(argument)) if argument else OverlapScorer()


def _latency(argument: str) -> Scorer:
    what = "Say up to how many seconds the score is 1: latency:2 or latency:2-8"
    target, dash, limit = argument.removesuffix("s").partition("-")
    return LatencyScorer(
        target_ns=int(_number(target, what) * 1e9), limit_ns=int(_number(limit, what) * 1e9) if dash else None
    )


def _cost(argument: str) -> Scorer:
    target, dash, limit = argument.partition("-")
    return CostScorer(target=_money(target), limit=_money(limit) if dash else None)


def _remote(argument: str) -> Scorer:
    if not _REMOTE.fullmatch(argument):
        raise ValueError("Say the name under which the scorer is offered: remote:mine")
    return RemoteScorer(name=argument)


def _list(argument: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in argument.split(",") if word.strip())


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(what) from None
    if not (math.isfinite(number) and 0 <= number <= 86_400e9):
        raise ValueError(what)
    return number


def _money(text: str) -> Nanos:
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not (amount.is_finite() and 0 <= amount <= _MAX_USD):
        raise ValueError("Say up to how many US dollars the score is 1: cost:0.002 or cost:0.002-0.01")
    return Nanos(int(amount * NANOS_PER_USD))


_MADE: Final[Mapping[str, Callable[[str], Scorer]]] = {
    "exact": _exact,
    "contains": lambda argument: ContainsScorer(text=argument),
    "keywords": _keywords,
    "regex": _regex,
    "json": lambda argument: JsonScorer(schema=argument),
    "markdown": _markdown,
    "length": _length,
    "numeric": _numeric,
    "choice": lambda argument: ChoiceScorer(choices=_list(argument)),
    "overlap": _overlap,
    "embedding": lambda argument: EmbeddingScorer(model=ModelName(argument)),
    "latency": _latency,
    "cost": _cost,
    "remote": _remote,
}
"""In the order of the contract."""
