"""From verdicts to sums. A pure fold: the order in which verdicts came changes nothing.

An item's score under a criterion is the mean over its scored verdicts: models, samples and orders. A pair tells
only in both orders: one alone tells as much of the place as of the answer. Means over items are over those that have
a score, and what has none is counted under its outcome.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from whet_server.calibration.agreement import in_both_orders
from whet_server.calibration.statistics import Metric, alpha, corrected_mean, mean_estimate
from whet_server.judge.spec import Asked, JudgementRecord, Sums
from whet_server.judging import (
    CalibrationState,
    CriterionSummary,
    DimensionSummary,
    Estimate,
    Item,
    Judge,
    JudgeMode,
    Outcome,
    OutcomeCount,
    Standing,
    Verdict,
)
from whet_server.values import Failure

COMBINED: Final = "combined"
"""The name of the items' weighted scores."""
BINS: Final = 10


class Folded:
    """The verdicts of a run by item and criterion, with what each item scores."""

    def __init__(self, criteria: Sequence[Asked], items: Sequence[Item], verdicts: Iterable[Verdict]) -> None:
        self.criteria = criteria
        self.items = items
        self.verdicts = tuple(verdicts)
        self.of: dict[str, dict[str, list[Verdict]]] = {asked.name: defaultdict(list) for asked in criteria}
        for verdict in self.verdicts:
            self.of[verdict.criterion][verdict.item_id].append(verdict)
        self.scores = {asked.name: _scores(asked, self.of[asked.name]) for asked in criteria}
        """The score of each item that has one, by criterion."""
        self.combined = dict(self._combined())
        """The weighted score of each item for which every criterion that counts has one."""

    def of_item(self, item_id: str) -> list[Verdict]:
        """Return what was said of an item, criterion by criterion."""
        return [verdict for asked in self.criteria for verdict in self.of[asked.name].get(item_id, ())]

    def _combined(self) -> Iterable[tuple[str, float]]:
        counting = [asked for asked in self.criteria if not asked.aside]
        weight = math.fsum(asked.weight for asked in counting)
        for item in self.items if counting else ():
            scores = [self.scores[asked.name].get(item.item_id) for asked in counting]
            if None not in scores:
                parts = zip(counting, scores, strict=True)
                yield item.item_id, math.fsum(asked.weight * (score or 0.0) for asked, score in parts) / weight


class Seen(NamedTuple):
    """A judgement as far as it is. `sums` are those on the record; None while it is under way."""

    record: JudgementRecord
    folded: Folded
    sums: Sums | None = None
    failure: Failure | None = None


def summed(
    folded: Folded,
    *,
    missing: Mapping[str, int] | None = None,
    standings: Mapping[str, CalibrationState] | None = None,
    people: Mapping[str, Mapping[str, float]] | None = None,
) -> Sums:
    """Return the sums. `missing` counts, for each criterion, the verdicts of an ended run that were never asked for:
    they are CANCELLED. `standings` say of judges whether they may gate. `people` has the score that people give to an
    item, by criterion and item, where means are to be corrected by it.
    """
    criteria = tuple(
        _criterion(
            folded,
            asked,
            missing=(missing or {}).get(asked.name, 0),
            calibration=(standings or {}).get(asked.name),
            people=(people or {}).get(asked.name),
        )
        for asked in folded.criteria
    )
    return Sums(criteria=criteria, combined=_combined(folded, criteria))


def _criterion(
    folded: Folded,
    asked: Asked,
    *,
    missing: int,
    calibration: CalibrationState | None,
    people: Mapping[str, float] | None,
) -> CriterionSummary:
    of, scores = folded.of[asked.name], folded.scores[asked.name]
    verdicts = [verdict for each in of.values() for verdict in each]
    scored = [verdict for verdict in verdicts if verdict.outcome is Outcome.SCORED]
    corrected, corrected_on = _corrected(scores, people)
    flips, pairs = _flips(asked, of)
    return CriterionSummary(
        criterion=asked.name,
        unit=asked.unit,
        direction=asked.direction,
        items=len(folded.items),
        scored_items=len(scores),
        outcomes=counts(verdicts, missing),
        mean=mean_estimate(sorted(scores.values())),
        deviation=_deviation(scores.values()),
        histogram=_histogram(scores.values()),
        mean_value=_mean_value(of),
        dimensions=tuple(_dimensions(asked, scored)),
        panel_alpha=_panel_alpha(asked, of),
        standings=_standings(asked, of),
        order_flips=flips,
        order_pairs=pairs,
        corrected_mean=corrected,
        corrected_on=corrected_on,
        calibration=calibration,
        simulated=any(verdict.simulated for verdict in verdicts),
        degraded=_degraded(asked.judge, verdicts),
        judge=asked.judge,
    )


def _combined(folded: Folded, criteria: Sequence[CriterionSummary]) -> CriterionSummary | None:
    """Return the sum over the items' weighted scores. Its outcomes are those of the criteria that count."""
    counting = [summary for asked, summary in zip(folded.criteria, criteria, strict=True) if not asked.aside]
    if not counting:
        return None
    scores = folded.combined.values()
    outcomes: Counter[Outcome] = Counter()
    for summary in counting:
        outcomes.update({count.outcome: count.count for count in summary.outcomes})
    return CriterionSummary(
        criterion=COMBINED,
        items=len(folded.items),
        scored_items=len(scores),
        outcomes=_listed(outcomes),
        mean=mean_estimate(sorted(scores)),
        deviation=_deviation(scores),
        histogram=_histogram(scores),
        simulated=any(summary.simulated for summary in counting),
        degraded=any(summary.degraded for summary in counting),
    )


def counts(verdicts: Iterable[Verdict], missing: int = 0) -> tuple[OutcomeCount, ...]:
    """Return how often each outcome came; `missing` more verdicts are CANCELLED."""
    found = Counter(verdict.outcome for verdict in verdicts)
    found[Outcome.CANCELLED] += missing
    return _listed(found)


def _listed(found: Mapping[Outcome, int]) -> tuple[OutcomeCount, ...]:
    return tuple(OutcomeCount(outcome=outcome, count=found[outcome]) for outcome in Outcome if found.get(outcome))


def _scores(asked: Asked, of: Mapping[str, Sequence[Verdict]]) -> dict[str, float]:
    return {
        item_id: mean
        for item_id, verdicts in of.items()
        if (mean := _mean(verdict.score for verdict in _telling(asked, verdicts))) is not None
    }


def _telling(asked: Asked, verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
    """Return the verdicts that tell of candidate 0, whose score an item's is: a pair of others does not."""
    if asked.judge is None or asked.judge.mode is not JudgeMode.PAIRWISE:
        return verdicts
    return in_both_orders(verdict for verdict in verdicts if 0 in verdict.order)


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None


def _mean_value(of: Mapping[str, Sequence[Verdict]]) -> float | None:
    return _mean(
        _mean(verdict.value for verdict in verdicts if verdict.outcome is Outcome.SCORED) for verdicts in of.values()
    )


def _deviation(scores: Iterable[float]) -> float | None:
    """Return the sample's standard deviation; None of fewer than two."""
    there = list(scores)
    if len(there) < 2:
        return None
    mean = math.fsum(there) / len(there)
    return math.sqrt(math.fsum((score - mean) ** 2 for score in there) / (len(there) - 1))


def _histogram(scores: Iterable[float]) -> tuple[int, ...]:
    bins = [0] * BINS
    for score in scores:
        bins[min(BINS - 1, int(score * BINS))] += 1
    return tuple(bins)


def _dimensions(asked: Asked, scored: Sequence[Verdict]) -> Iterable[DimensionSummary]:
    """Yield the rubric's dimensions over the verdicts that gave them a level. Those of one item depend on each other,
    so that the mean and its interval are over items.
    """
    if asked.rubric is None or asked.judge is None or asked.judge.mode is not JudgeMode.POINTWISE:
        return
    given: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for verdict in scored:
        for said in verdict.dimensions:
            if said.level is not None:
                given[said.dimension][verdict.item_id].append(said.level)
    for dimension in asked.rubric.dimensions:
        of_items = given[dimension.name].values()
        often = Counter(level for levels in of_items for level in levels)
        yield DimensionSummary(
            dimension=dimension.name,
            weight=dimension.weight,
            scored=often.total(),
            mean=mean_estimate(sorted(math.fsum(levels) / len(levels) for levels in of_items)),
            levels=tuple(often[level] for level in range(asked.rubric.lowest, asked.rubric.highest + 1)),
        )


def _panel_alpha(asked: Asked, of: Mapping[str, Sequence[Verdict]]) -> Estimate:
    """Return the agreement of a panel over each judge's mean score of an item."""
    if asked.judge is None or len(asked.judge.models) < 2:
        return Estimate()
    rows = []
    for verdicts in of.values():
        by_judge: dict[str, list[float | None]] = defaultdict(list)
        for verdict in _telling(asked, verdicts):
            by_judge[verdict.judge].append(verdict.score)
        rows.append(sorted(mean for said in by_judge.values() if (mean := _mean(said)) is not None))
    # Sorted, so that the fold does not depend on the order of the verdicts: who gave which score does not matter.
    return alpha(sorted(row for row in rows if len(row) > 1), Metric.INTERVAL)


def _degraded(judge: Judge | None, verdicts: Sequence[Verdict]) -> bool:
    """Whether another model than planned answered, or one of a panel gave no score at all though it was asked."""
    if judge is None:
        return False
    asked = {verdict.judge for verdict in verdicts}
    scored = {verdict.judge for verdict in verdicts if verdict.outcome is Outcome.SCORED}
    return any(verdict.degraded for verdict in verdicts) or bool(scored and asked - scored)


def _standings(asked: Asked, of: Mapping[str, Sequence[Verdict]]) -> tuple[Standing, ...]:
    """Count how often each candidate of pairs or lists came first."""
    if asked.judge is None or asked.judge.mode is JudgeMode.POINTWISE:
        return ()
    wins: Counter[int] = Counter()
    ties: Counter[int] = Counter()
    items: Counter[int] = Counter()
    for verdicts in of.values():
        scored = [verdict for verdict in verdicts if verdict.outcome is Outcome.SCORED]
        candidates = {candidate for verdict in scored for candidate in verdict.order}
        items.update(candidates)
        first = _first(asked.judge.mode, scored)
        (wins if len(first) == 1 else ties).update(first)
    return tuple(
        Standing(
            candidate=candidate,
            wins=wins[candidate],
            ties=ties[candidate],
            losses=items[candidate] - wins[candidate] - ties[candidate],
        )
        for candidate in sorted(items)
    )


def _first(mode: JudgeMode, scored: Sequence[Verdict]) -> set[int]:
    """Return which candidates of an item came first. Each model and sample has one vote, which those share that it
    puts first.
    """
    rounds: dict[tuple[str, int], list[Verdict]] = defaultdict(list)
    for verdict in scored:
        rounds[verdict.judge, verdict.sample].append(verdict)
    votes: dict[int, Fraction] = defaultdict(Fraction)
    for verdicts in rounds.values():
        first = _of_pairs(verdicts) if mode is JudgeMode.PAIRWISE else {verdict.ranking[0] for verdict in verdicts}
        for candidate in first:
            votes[candidate] += Fraction(1, len(first))
    return _best(votes)


def _of_pairs(verdicts: Sequence[Verdict]) -> set[int]:
    """Return who came first in one round of pairs: a point for a pair that is won in both orders, half a point each
    for every other one.
    """
    points: dict[int, Fraction] = defaultdict(Fraction)
    for both in _both_orders(verdicts).values():
        winners = {None if verdict.tie else verdict.ranking[0] for verdict in both}
        winner = winners.pop() if len(both) == 2 and len(winners) == 1 else None
        for candidate in both[0].order:
            points[candidate] += Fraction(1, 2) if winner is None else Fraction(candidate == winner)
    return _best(points)


def _best(points: Mapping[int, Fraction]) -> set[int]:
    most = max(points.values(), default=Fraction(0))
    return {candidate for candidate, got in points.items() if got == most}


def _both_orders(verdicts: Iterable[Verdict]) -> dict[frozenset[int], list[Verdict]]:
    """Return the scored verdicts of one round by pair."""
    pairs: dict[frozenset[int], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        pairs[frozenset(verdict.order)].append(verdict)
    return pairs


def _flips(asked: Asked, of: Mapping[str, Sequence[Verdict]]) -> tuple[int, int]:
    """Count the pairs whose preference turned with the order, and the pairs that were scored in both."""
    if asked.judge is None or asked.judge.mode is not JudgeMode.PAIRWISE:
        return 0, 0
    flips = pairs = 0
    for verdicts in of.values():
        rounds: dict[tuple[str, int, frozenset[int]], list[Verdict]] = defaultdict(list)
        for verdict in verdicts:
            if verdict.outcome is Outcome.SCORED:
                rounds[verdict.judge, verdict.sample, frozenset(verdict.order)].append(verdict)
        for both in rounds.values():
            if len(both) == 2:
                pairs += 1
                one, other = both
                flips += not one.tie and not other.tie and one.ranking[0] != other.ranking[0]
    return flips, pairs


def _corrected(scores: Mapping[str, float], people: Mapping[str, float] | None) -> tuple[Estimate, int]:
    if people is None:
        return Estimate(), 0
    pairs = sorted((score, people[item_id]) for item_id, score in scores.items() if item_id in people)
    return corrected_mean(sorted(scores.values()), pairs), len(pairs)
