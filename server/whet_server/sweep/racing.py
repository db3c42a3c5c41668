"""When a trial is stopped before its last case.

Stopping never names a winner: only a trial that came to its last case can be one. So a stop costs at most a good trial,
never a false finding, and what it may look at is free. With several objectives there is no worse one until all are in,
and no trial is stopped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from math import ceil, fsum
from typing import Final

from whet_server.sweep.evidence import betting_p, relative
from whet_server.sweep.fold import TrialFold
from whet_server.sweep.measure import by_case, higher_is_better
from whet_server.sweeping import (
    BASELINE,
    Objective,
    ObjectiveKind,
    Racing,
    RacingMethod,
    SweepPlan,
    TrialState,
)

DEFAULT_MIN_CASES: Final = 8
"""As the contract says."""
DEFAULT_REDUCTION: Final = 3
DEFAULT_ALPHA: Final = 0.05
GROWTH: Final = 1.5
"""From one look to the next: few enough that calls need not wait for each other often."""
WRONGLY_STOPPED: Final = 0.1
"""The chance that PAIRED stops a trial that is as good as what it is compared with."""
ENOUGH: Final = 4
"""Trials that came as far, below which MEDIAN stops none."""
RECENT: Final = 200
"""MEDIAN and HALVING look at so many trials at most, the latest: what a look takes does not grow with the sweep."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What racing knows of a trial: its values of the first objective by case, turned so that higher is better, and
    whether it keeps the conditions as far as its means tell.
    """

    number: int
    state: TrialState
    values: Mapping[str, float]
    held: bool = True

    @cached_property
    def mean(self) -> float:
        """Of all its cases; minus infinity for none."""
        return fsum(self.values.values()) / len(self.values) if self.values else float("-inf")


def objectives(plan: SweepPlan) -> tuple[Objective, ...]:
    """Return what is optimised, the first one above all."""
    return tuple(each for each in plan.objectives if each.margin is None) or (Objective(kind=ObjectiveKind.QUALITY),)


def conditions(plan: SweepPlan) -> tuple[Objective, ...]:
    """Return what is held."""
    return tuple(each for each in plan.objectives if each.margin is not None)


def gain(objective: Objective, mine: float, theirs: float) -> float:
    """Return how much better `mine` is, -1 to 1, where both are turned so that higher is better: the difference of
    scores; of money and time, which have no bound, the relative one.
    """
    return mine - theirs if higher_is_better(objective) else relative(mine, theirs)


def turned(trial: TrialFold, objective: Objective, samples: int | None = None) -> dict[str, float]:
    """Return a trial's values by case, higher being better; of its first `samples` answers to each, or of all."""
    answers = (each for each in trial.answers.values() if samples is None or each.sample <= samples)
    sign = 1.0 if higher_is_better(objective) else -1.0
    return {case_id: sign * value for case_id, value in by_case(answers, objective).items()}


def known(plan: SweepPlan, trial: TrialFold, baseline: TrialFold | None) -> Known:
    """Return what racing may know of a trial. `baseline` None: it has not ended, and conditions count as kept."""
    held = baseline is None or all(_kept(each, trial, baseline) for each in conditions(plan))
    return Known(number=trial.number, state=trial.state, values=turned(trial, objectives(plan)[0], 1), held=held)


def _kept(condition: Objective, trial: TrialFold, baseline: TrialFold) -> bool:
    return fsum(shortfalls(condition, turned(trial, condition), turned(baseline, condition))) <= 0


def shortfalls(condition: Objective, mine: Mapping[str, float], theirs: Mapping[str, float]) -> list[float]:
    """Return by how much each case misses a condition, in its own unit: above zero is too much. `mine` and `theirs`,
    the baseline's, are turned so that higher is better.
    """
    margin = condition.margin or 0.0
    pairs = ((value, theirs[case_id]) for case_id, value in mine.items() if case_id in theirs)
    if higher_is_better(condition):
        return [base - margin - value for value, base in pairs]
    return [base * (1 + margin) - value for value, base in pairs]


def rungs(racing: Racing, cases: int) -> tuple[int, ...]:
    """Return the numbers of cases after which a trial is looked at, rising; the last one is all of them."""
    if racing.method is RacingMethod.NONE:
        return (cases,)
    halving = racing.method is RacingMethod.HALVING
    growth = max(2, racing.reduction or DEFAULT_REDUCTION) if halving else GROWTH
    looks, at = [], racing.min_cases or DEFAULT_MIN_CASES
    while at < cases:
        looks.append(at)
        at = ceil(at * growth)
    return (*looks, cases)


def decision(plan: SweepPlan, trial: Known, others: Sequence[Known], order: Sequence[str]) -> str | None:
    """Return why to stop a trial that has come to a rung, in words; None: it goes on.

    `others` are the ended trials that it may know, in any order; `order` the cases as all trials get them, all or those
    up to the rung. Only values decide: the same ones give the same answer.
    """
    if trial.number == BASELINE or len(objectives(plan)) > 1:
        return None
    came = 1 + max((place for place, case_id in enumerate(order) if case_id in trial.values), default=-1)
    rung = next((each for each in rungs(plan.racing, plan.cases) if each >= came), plan.cases)
    if not came or rung >= plan.cases:
        return None
    others = sorted((each for each in others if each.number != trial.number), key=lambda each: each.number)
    match plan.racing.method:
        case RacingMethod.NONE:
            return None
        case RacingMethod.MEDIAN:
            return _median(plan, trial, others, order[:rung])
        case RacingMethod.HALVING:
            return _halving(plan, trial, others, order[:rung])
        case _:
            return _paired(plan, trial, others, order[:rung])


def _median(plan: SweepPlan, trial: Known, others: Sequence[Known], prefix: Sequence[str]) -> str | None:
    fellows = _as_far(others, prefix)
    better = sum(each > 0 for each in _leads(plan, trial, fellows, prefix))
    if len(fellows) < ENOUGH or 2 * better <= len(fellows):
        return None
    return f"below the median: {better} of {len(fellows)} trials before it are better on its first {len(prefix)} cases"


def _halving(plan: SweepPlan, trial: Known, others: Sequence[Known], prefix: Sequence[str]) -> str | None:
    fellows = _as_far(others, prefix)
    reduction = max(2, plan.racing.reduction or DEFAULT_REDUCTION)
    places = (len(fellows) + 1) // reduction
    better = sum(each > 0 for each in _leads(plan, trial, fellows, prefix))
    if not places or better < places:
        return None
    return (
        f"not among the best {places} of the {len(fellows) + 1} trials that came to {len(prefix)} cases: "
        f"{better} are better"
    )


def _as_far(others: Sequence[Known], prefix: Sequence[str]) -> list[Known]:
    """Those that came to the last case of `prefix`, the latest `RECENT`, as far as their scores tell."""
    last = prefix[-max(1, len(prefix) // 4) :]  # a single case may have no score
    return [each for each in others if any(case_id in each.values for case_id in last)][-RECENT:]


def _leads(plan: SweepPlan, trial: Known, others: Iterable[Known], prefix: Sequence[str]) -> list[float]:
    """By how much each of the others is ahead, on the cases that both have."""
    return [fsum(_gains(plan, other, trial, prefix)) for other in others]


def _gains(plan: SweepPlan, one: Known, other: Known, prefix: Sequence[str]) -> list[float]:
    first = objectives(plan)[0]
    both = (case_id for case_id in prefix if case_id in one.values and case_id in other.values)
    return [gain(first, one.values[case_id], other.values[case_id]) for case_id in both]


def _paired(plan: SweepPlan, trial: Known, others: Sequence[Known], prefix: Sequence[str]) -> str | None:
    whole = [each for each in others if each.state is TrialState.COMPLETE and each.held]
    best = max(whole, key=lambda each: (each.mean, -each.number), default=None)
    baseline = next(takewhile(lambda each: each.number == BASELINE, others), None)
    rivals = {each.number: each for each in (best, baseline) if each}
    for rival in rivals.values():
        gains = _gains(plan, rival, trial, prefix)
        if betting_p(gains) <= WRONGLY_STOPPED / len(rivals):
            name = "the baseline" if rival.number == BASELINE else f"trial {rival.number}, the best before it,"
            return f"worse than {name} on {len(gains)} cases that both have"
    return None
