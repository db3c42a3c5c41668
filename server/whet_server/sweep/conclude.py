"""What a sweep found, in a verdict, figures and sentences that say no more than they stand on."""

from collections.abc import Iterator, Sequence
from typing import Final

from whet_server.calibration.statistics import mean_estimate
from whet_server.errors import Reason
from whet_server.judging import Estimate
from whet_server.sweep.findings import convergence, finding
from whet_server.sweep.fold import SweepFold, TrialFold
from whet_server.sweep.measure import by_case, mean_of, paired, quality_of
from whet_server.sweep.racing import conditions, objectives, turned
from whet_server.sweep.spec import SweepRecord
from whet_server.sweep.versus import Field, Versus, enough
from whet_server.sweeping import (
    BASELINE,
    BestPoint,
    ChangedCase,
    HoldoutFigure,
    Importance,
    Objective,
    ObjectiveKind,
    SweepEnd,
    SweepPlan,
    SweepResult,
    SweepVerdict,
    Trial,
    TrialState,
)
from whet_server.values import Failure

FEWEST_PAIRS: Final = 2
"""Below, nothing is said about a difference."""


def conclude(record: SweepRecord, fold: SweepFold, end: SweepEnd) -> SweepResult:
    """Return what a sweep found, without hold-out and follow-ups. Pure; with thousands of trials it takes seconds, so
    not for the event loop.
    """
    field = Field(record.plan, fold)
    winner = field.winner()
    best = winner or (field.eligible[0] if field.eligible else None)
    lift = mean_estimate(field.lifts(best.number)) if best else Estimate()
    verdict = _verdict(field, winner, best, lift)
    history = _history(record.plan, fold)
    converged, likely = convergence(history, sum(trial.end is not None for trial in fold.trials.values()))
    changed = _changed(field, best.number) if best else []
    return SweepResult(
        verdict=verdict,
        finding=finding(field, verdict, best, field.natural(lift)),
        end=end,
        best=best.number if best else _fallback(field, history),
        lift=field.natural(lift),
        p_value=field.p_value(best.number) if best else None,
        comparisons=field.comparisons,
        alpha=field.alpha,
        pairs=best.pairs if best else 0,
        regressed=tuple(sorted((each for each in changed if each.after < each.before), key=_loss)),
        improved=sum(each.after > each.before for each in changed),
        convergence=likely,
        converged=converged,
        importance=_importance(field, fold),
        front=_front(field, best.number if best and best.lift > 0 else _fallback(field, history)),
        history=history,
        simulated=any(case.simulated for trial in fold.trials.values() for case in trial.answers.values()),
    )


def holdout_figure(record: SweepRecord, fold: SweepFold, best: int, dataset: str, rows: int) -> HoldoutFigure:
    """Return the figure on the hold-out: mean scores of the baseline and the best, and their paired difference."""
    quality = quality_of(record.plan)
    before, after = (by_case(fold.trials[each].holdout.values(), quality) for each in (BASELINE, best))
    pairs = paired(after, before)
    failure = Failure(reason=Reason.TOO_FEW_SCORES, message="No row of the hold-out has a score from both.")
    return HoldoutFigure(
        dataset=dataset,
        rows=rows,
        baseline=mean_estimate(list(before.values())),
        winner=mean_estimate(list(after.values())),
        lift=mean_estimate(pairs),
        pairs=len(pairs),
        failure=None if pairs else failure,
    )


def best_so_far(plan: SweepPlan, fold: SweepFold) -> tuple[int, float] | None:
    """Return the best trial and its value of the first objective; the baseline where none is ahead of it, None where
    none has enough scores. From the trials' own figures alone: milliseconds for thousands of trials.
    """
    ends = [trial.end for trial in fold.trials.values() if trial.end and trial.end.state is TrialState.COMPLETE]
    base = next((each for each in ends if each.number == BASELINE), None)
    first = objectives(plan)[0]
    ranked = [
        (_samples(each), _ahead(each, first, value), -each.number, value)
        for each in ends
        if (value := mean_of(each, first)) is not None and enough(each.scored_cases, plan) and _keeps(plan, each, base)
    ]
    if not ranked:
        return None
    _, _, number, value = max(ranked)
    return -number, value


def _samples(trial: Trial) -> int:
    return trial.answers // max(1, trial.cases)


def _ahead(trial: Trial, first: Objective, value: float) -> float:
    """How far ahead a trial is; of scores by the cases that the baseline has too, where it is known."""
    if first.kind in {ObjectiveKind.COST, ObjectiveKind.LATENCY}:
        return -value
    if trial.number == BASELINE:
        return 0.0
    return value if trial.lift.value is None else trial.lift.value


def _keeps(plan: SweepPlan, trial: Trial, base: Trial | None) -> bool:
    """Whether a trial's means keep the conditions, as far as they are known."""
    for condition in conditions(plan):
        mine, theirs = mean_of(trial, condition), mean_of(base, condition) if base else None
        if mine is None or theirs is None:
            continue
        margin = condition.margin or 0.0
        if condition.kind in {ObjectiveKind.COST, ObjectiveKind.LATENCY}:
            kept = mine <= theirs * (1 + margin)
        else:
            kept = mine >= theirs - margin
        if not kept:
            return False
    return True


def _verdict(field: Field, winner: Versus | None, best: Versus | None, lift: Estimate) -> SweepVerdict:
    """`lift` is turned so that higher is better."""
    if winner:
        return SweepVerdict.BETTER
    if best is None or best.pairs < FEWEST_PAIRS or not best.held or lift.high is None:
        return SweepVerdict.UNDECIDED
    return SweepVerdict.NO_DIFFERENCE if lift.high <= field.worth else SweepVerdict.UNDECIDED


def _importance(field: Field, fold: SweepFold) -> tuple[Importance, ...]:
    """What matters among all that was compared; what was stopped early shows as much by the cases it has."""
    from whet_server.sweep.space import Space  # with the next one
    from whet_server.sweep.study import importance  # loads Optuna

    lifts = {number: field.lifts(number) for number in field.compared}
    told = [(fold.trials[number].configuration, sum(of) / len(of)) for number, of in lifts.items()]
    return importance(Space(field.plan.space), told, higher=True) if field.plan.space else ()


def _fallback(field: Field, history: Sequence[BestPoint]) -> int | None:
    """Where no trial can be compared: the baseline if it has scores, else the best by its mean alone."""
    if field.values(BASELINE):
        return BASELINE
    return history[-1].number if history else None


def _loss(case: ChangedCase) -> tuple[float, str]:
    return case.after - case.before, case.case_id


def _changed(field: Field, number: int) -> list[ChangedCase]:
    quality = quality_of(field.plan)
    before, after = (by_case(field.answers(each), quality) for each in (BASELINE, number))
    return [
        ChangedCase(case_id=case_id, before=before[case_id], after=value)
        for case_id, value in after.items()
        if case_id in before and value != before[case_id]
    ]


def _history(plan: SweepPlan, fold: SweepFold) -> tuple[BestPoint, ...]:
    """The best after each trial that ended, as the search saw it: by the first answers, in the order of numbers."""
    return tuple(_rises(plan, [fold.trials[number] for number in sorted(fold.trials) if fold.trials[number].end]))


def _rises(plan: SweepPlan, trials: Sequence[TrialFold]) -> Iterator[BestPoint]:
    first = objectives(plan)[0]
    best: float | None = None
    for ended, trial in enumerate(trials, 1):
        values = turned(trial, first, 1)
        if trial.state is not TrialState.COMPLETE or not enough(len(values), plan):
            continue
        mean = sum(values.values()) / len(values)
        if best is None or mean > best:
            best = mean
            yield BestPoint(number=trial.number, ended=ended, value=Field.sign(first) * mean)


def _front(field: Field, top: int | None) -> tuple[int, ...]:
    """Trials that no other is as good as in every objective and better in one. Of one objective: `top`."""
    aims = objectives(field.plan)
    if len(aims) == 1:
        return () if top is None else (top,)
    points = {}
    for number in (BASELINE, *(each.number for each in field.eligible if each.held)):
        values = [field.values(number, aim) for aim in aims]
        if all(values):
            points[number] = tuple(sum(of.values()) / len(of) for of in values)
    front: list[int] = []
    for number in sorted(points, key=lambda each: (tuple(-value for value in points[each]), each)):
        mine = points[number]
        beaten = any(
            points[other] != mine and all(theirs >= own for theirs, own in zip(points[other], mine, strict=True))
            for other in front
        )
        if not beaten:
            front.append(number)
    return tuple(sorted(front))
