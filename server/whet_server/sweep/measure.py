"""What answers come to: a case's value of an objective, and a trial's standing.

A case's score is the mean over its answers that have one. What has no score has no value, and is counted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Final

from whet_server.calibration.statistics import mean_estimate
from whet_server.judging import Outcome, OutcomeCount
from whet_server.sweep.fold import TrialFold
from whet_server.sweeping import Objective, ObjectiveKind, SweepPlan, Trial, TrialCase, TrialState
from whet_server.values import NANOS_PER_USD, NANOSECONDS, Failure, Totals

ENOUGH_SCORED: Final = 0.9
"""The share of its cases that a trial must have scored: with fewer it is another test than the others took, and those
that fail may be the hard ones.
"""


def value_of(case: TrialCase, objective: Objective) -> float | None:
    """Return an answer's value of an objective: a score (0 to 1, higher is better), US dollars or seconds (lower is
    better). None where there is none; cost and time of an answer that failed are none either.
    """
    match objective.kind:
        case ObjectiveKind.COST:
            known = case.outcome is Outcome.SCORED and case.cost is not None
            return (case.cost or 0) / NANOS_PER_USD if known else None
        case ObjectiveKind.LATENCY:
            known = case.outcome is Outcome.SCORED and case.latency_ns is not None
            return (case.latency_ns or 0) / NANOSECONDS if known else None
        case _:
            return _criterion(case, objective.criterion) if objective.criterion else case.score


def higher_is_better(objective: Objective) -> bool:
    """Whether more of it is better."""
    return objective.kind in {None, ObjectiveKind.QUALITY}


def quality_of(plan: SweepPlan) -> Objective:
    """Return the objective or condition that scores are read by, whatever is optimised; the weighted score where there
    is none.
    """
    of_quality = (each for each in plan.objectives if higher_is_better(each))
    return next(of_quality, Objective(kind=ObjectiveKind.QUALITY))


def enough(scored: int, cases: int) -> bool:
    """Whether so many scored cases of `cases` are enough to compare a trial by."""
    return scored >= max(1, ENOUGH_SCORED * cases)


def mean_of(trial: Trial, objective: Objective) -> float | None:
    """Return an ended trial's mean value of an objective; of a criterion apart from the trial's score, that score."""
    match objective.kind:
        case ObjectiveKind.COST:
            return trial.cost
        case ObjectiveKind.LATENCY:
            return None if trial.latency_ns is None else trial.latency_ns / NANOSECONDS
        case _:
            return trial.quality.value


def by_case(answers: Iterable[TrialCase], objective: Objective) -> dict[str, float]:
    """Return the mean value of each case that has one, in the order in which the cases first came."""
    values: dict[str, list[float]] = defaultdict(list)
    for answer in answers:
        if (value := value_of(answer, objective)) is not None:
            values[answer.case_id].append(value)
    return {case_id: fsum(of) / len(of) for case_id, of in values.items()}


def paired(one: Mapping[str, float], other: Mapping[str, float]) -> list[float]:
    """Return `one` less `other` on the cases that both have, in the order of `one`."""
    return [value - other[case_id] for case_id, value in one.items() if case_id in other]


def standing(
    trial: TrialFold,
    state: TrialState,
    quality: Objective,
    baseline: Mapping[str, float],
    *,
    reason: str = "",
    failure: Failure | None = None,
    end_ns: int | None = None,
) -> Trial:
    """Return a trial as it stands. `quality` is the objective of quality; `baseline` its values by case."""
    answers = list(trial.answers.values())
    scores = by_case(answers, quality)
    costs = [value for case in answers if (value := value_of(case, Objective(kind=ObjectiveKind.COST))) is not None]
    times = [case.latency_ns for case in answers if case.outcome is Outcome.SCORED and case.latency_ns is not None]
    counts = Counter(case.outcome for case in answers)
    return Trial(
        number=trial.number,
        state=state,
        parameters=trial.parameters,
        texts=trial.texts,
        cases=len({case.case_id for case in answers}),
        scored_cases=len(scores),
        answers=len(answers),
        outcomes=tuple(OutcomeCount(outcome=each, count=counts[each]) for each in Outcome if counts[each]),
        quality=mean_estimate(list(scores.values())),
        cost=fsum(costs) / len(costs) if costs and len(costs) == counts[Outcome.SCORED] else None,
        latency_ns=round(fsum(times) / len(times)) if times else None,
        lift=mean_estimate(paired(scores, baseline)),
        reason=reason,
        failure=failure,
        totals=sum((case.totals for case in answers), Totals()),
        start_ns=trial.start_ns,
        end_ns=end_ns,
        simulated=any(case.simulated for case in answers),
        worker=trial.worker,
    )


def _criterion(case: TrialCase, criterion: str) -> float | None:
    scores: Sequence[float] = [
        verdict.score for verdict in case.verdicts if verdict.criterion == criterion and verdict.score is not None
    ]
    return fsum(scores) / len(scores) if scores else None
