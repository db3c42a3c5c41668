"""Latency and cost: how an amount stands to a target and a limit."""

from typing import Final

from whet_server.judging import Item
from whet_server.score.finding import DoesNotApply, Finding, candidate_of
from whet_server.score.spec import CostScorer, LatencyScorer
from whet_server.values import NANOS_PER_USD

LIMIT: Final = 4
"""Targets that are a limit when none is said."""
_SECOND: Final = 1_000_000_000


def latency(item: Item, scorer: LatencyScorer) -> Finding:
    """1 up to the target, falling in a straight line to 0 at the limit. The value is in seconds."""
    candidate_of(item)
    if item.latency_ns is None:
        raise DoesNotApply("The item does not say how long its answer took.")
    return _fallen(item.latency_ns, scorer.target_ns, scorer.limit_ns, _SECOND)


def cost(item: Item, scorer: CostScorer) -> Finding:
    """1 up to the target, falling in a straight line to 0 at the limit. The value is in US dollars."""
    candidate_of(item)
    if item.cost is None:
        raise DoesNotApply("The item does not say what its answer cost.")
    return _fallen(item.cost, scorer.target, scorer.limit, NANOS_PER_USD)


def _fallen(amount: int, target: int, limit: int | None, unit: int) -> Finding:
    end = LIMIT * target if limit is None else limit
    score = 1.0 if amount <= target else max(0.0, (end - amount) / (end - target)) if end > target else 0.0
    return Finding(score=score, value=amount / unit)
