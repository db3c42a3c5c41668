"""What people and a judge say of one subject, as one number each, and how far the two agree over many.

Several raters, and a panel's models, samples and orders, count by their mean. The mean itself goes into bias, error
and rank correlation; where a level is needed it is the nearest one, halves going to the even one, so that rounding
favours neither end. A pair is the points of its first candidate: 0, a half for a tie, 1; its levels are 0 (the second
is better), 1 (a tie), 2 (the first), and what a mean leans to counts. A list is its best candidate, or a tie, which
are names and not levels: there is no bias, no order, and every disagreement weighs alike.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final, NamedTuple, Protocol

from whet_server.calibration import statistics
from whet_server.calibration.ratings import TIE
from whet_server.calibration.statistics import Metric
from whet_server.judging import Estimate, JudgeMode, Outcome, Rating, Verdict
from whet_server.values import Value

PAIR_LEVELS: Final = (0, 1, 2)
"""The second candidate is better, a tie, the first one is."""


class Agreement(Value):
    """How far a judge and people agree; `proto/whet/v1/calibration.proto` says what each field is."""

    dimension: str = ""
    items: int = 0
    unscored: int = 0
    exact: Estimate = Estimate()
    kappa: Estimate = Estimate()
    weighted_kappa: Estimate = Estimate()
    alpha: Estimate = Estimate()
    spearman: Estimate = Estimate()
    bias: Estimate = Estimate()
    error: Estimate = Estimate()
    people_alpha: Estimate = Estimate()
    levels: tuple[int, ...] = ()
    matrix: tuple[int, ...] = ()


class Part(Protocol):
    """What the whole must know of a rubric's dimension."""

    @property
    def name(self) -> str: ...
    @property
    def weight(self) -> float: ...
    @property
    def optional(self) -> bool: ...


class Scale(NamedTuple):
    """What a judge says: on which levels, or of how many candidates."""

    mode: JudgeMode
    levels: tuple[int, ...]

    def nearest(self, value: float) -> int:
        """Return the level of a mean."""
        if self.mode is JudgeMode.PAIRWISE:
            return 1 + (value > 1) - (value < 1)
        return min(max(round(value), self.levels[0]), self.levels[-1])


def scale_of(mode: JudgeMode, levels: Sequence[int], candidates: int) -> Scale:
    """Return the scale of a mode: a rubric's levels, the three of pairs, or the candidates of lists and the tie."""
    if mode is JudgeMode.POINTWISE:
        return Scale(mode, tuple(levels))
    return Scale(mode, PAIR_LEVELS if mode is JudgeMode.PAIRWISE else tuple(range(TIE, candidates)))


def people_say(
    ratings: Iterable[Rating], mode: JudgeMode, dimension: str = "", parts: Sequence[Part] = ()
) -> list[float]:
    """Return what each rater says of a subject, on the scale of the mode. `parts` are the rubric's dimensions, of which
    the whole is made where a rater did not rate it.
    """
    if mode is JudgeMode.POINTWISE:
        by_rater: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for rating in ratings:
            if rating.preferred is None:
                by_rater[rating.rater][rating.dimension] = rating.level
        said = (each.get(dimension) if dimension else whole_of(each, parts) for each in by_rater.values())
        return [float(level) for level in said if level is not None]
    chosen = [rating.preferred for rating in ratings if rating.dimension == dimension and rating.preferred is not None]
    if mode is JudgeMode.LISTWISE:
        return [float(one) for one in chosen]
    return [{0: 2.0, TIE: 1.0}.get(one, 0.0) for one in chosen]


def whole_of(levels: Mapping[str, int], parts: Sequence[Part]) -> float | None:
    """Return the level that one rater gives the whole, from levels by dimension: that of the whole ("") if it was
    rated, else, as of a judge, the weighted mean of the dimensions, if all that may not be left out were rated.
    """
    if "" in levels:
        return levels[""]
    if any(part.name not in levels and not part.optional for part in parts):
        return None
    rated = [(part.weight, levels[part.name]) for part in parts if part.name in levels]
    weight = math.fsum(weight for weight, _ in rated)
    return math.fsum(weight * level for weight, level in rated) / weight if rated else None


def judge_says(verdicts: Iterable[Verdict], mode: JudgeMode, dimension: str = "") -> float | None:
    """Return the mean over what a judge's models, samples and orders say of a subject; None: none gave a score."""
    scored = [verdict for verdict in verdicts if verdict.outcome is Outcome.SCORED]
    if mode is JudgeMode.LISTWISE:
        return None if dimension else _best([verdict.ranking for verdict in scored if verdict.ranking])
    if mode is JudgeMode.PAIRWISE:
        both = [] if dimension else in_both_orders(scored)
        said = [2 * verdict.score for verdict in both if verdict.score is not None]
    elif dimension:
        given = (each for verdict in scored for each in verdict.dimensions if each.dimension == dimension)
        said = [float(each.level) for each in given if each.level is not None]
    else:
        said = [verdict.value for verdict in scored if verdict.value is not None]
    return fmean(said) if said else None


def in_both_orders(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the scored verdicts on pairs that the same judge and sample also gave in the other order: one order alone
    tells as much of the place as of the answer.
    """
    rounds: defaultdict[tuple[str, int, frozenset[int]], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.outcome is Outcome.SCORED:
            rounds[verdict.judge, verdict.sample, frozenset(verdict.order)].append(verdict)
    return [verdict for both in rounds.values() if len({each.order for each in both}) > 1 for verdict in both]


def one_of(said: Sequence[float], mode: JudgeMode) -> float | None:
    """Return what several people say together: their mean, of a list what most of them prefer; None: nobody said."""
    if mode is not JudgeMode.LISTWISE or not said:
        return fmean(said) if said else None
    votes = sorted(((said.count(one), one) for one in set(said)), reverse=True)
    return votes[0][1] if len(votes) == 1 or votes[0][0] > votes[1][0] else float(TIE)


def agreement(
    ratings: Mapping[str, Sequence[Rating]],
    verdicts: Mapping[str, Sequence[Verdict]],
    scale: Scale,
    dimension: str = "",
    parts: Sequence[Part] = (),
) -> Agreement:
    """Compare people and a judge on the subjects that both speak of, on the whole or on a dimension."""
    mode = scale.mode
    people = {subject: people_say(ratings.get(subject, ()), mode, dimension, parts) for subject in verdicts}
    rated = {subject: said for subject, said in people.items() if said}
    judged = {subject: judge_says(verdicts[subject], mode, dimension) for subject in rated}
    both = [
        (whole, judge)
        for subject, said in rated.items()
        if (whole := one_of(said, mode)) is not None and (judge := judged[subject]) is not None
    ]
    among = statistics.alpha(rated.values(), Metric.NOMINAL if mode is JudgeMode.LISTWISE else Metric.ORDINAL)
    return _compared(both, scale, dimension, unscored=len(rated) - len(both), people_alpha=among)


def _compared(
    both: Sequence[tuple[float, float]], scale: Scale, dimension: str, *, unscored: int, people_alpha: Estimate
) -> Agreement:
    people, judge = ([pair[side] for pair in both] for side in (0, 1))
    rows, columns = ([scale.nearest(one) for one in said] for said in (people, judge))
    ordered = scale.mode is not JudgeMode.LISTWISE
    plain = statistics.kappa(rows, columns, scale.levels)
    return Agreement(
        dimension=dimension,
        items=len(both),
        unscored=unscored,
        exact=statistics.exact_agreement(rows, columns),
        kappa=plain,
        weighted_kappa=statistics.weighted_kappa(rows, columns, scale.levels) if ordered else plain,
        alpha=statistics.alpha(zip(rows, columns, strict=True), Metric.ORDINAL if ordered else Metric.NOMINAL),
        spearman=statistics.spearman(people, judge) if ordered else Estimate(),
        bias=statistics.bias(judge, people) if ordered else Estimate(),
        error=statistics.absolute_error(judge, people) if ordered else Estimate(),
        people_alpha=people_alpha,
        levels=scale.levels,
        matrix=statistics.confusion(rows, columns, scale.levels),
    )


def _best(rankings: Sequence[Sequence[int]]) -> float | None:
    """Return the candidate with the best mean place over rankings; `TIE` when two share it."""
    places: defaultdict[int, list[int]] = defaultdict(list)
    for ranking in rankings:
        for place, candidate in enumerate(ranking):
            places[candidate].append(place)
    if not places:
        return None
    order = sorted((fmean(given), candidate) for candidate, given in places.items())
    return float(TIE if len(order) > 1 and order[0][0] == order[1][0] else order[0][1])
