"""How a trial stands when it ends: complete, stopped by racing, failed, or cut off."""

from whet_server.errors import Reason
from whet_server.sweep.fold import TrialFold
from whet_server.sweep.measure import ENOUGH_SCORED, by_case, quality_of, standing
from whet_server.sweeping import SweepPlan, Trial, TrialState
from whet_server.values import Failure


def hopeless(trial: TrialFold, cases: int) -> bool:
    """Whether so many cases have no score that the trial will have too few, whatever the others bring."""
    return sum(case.score is None for case in trial.answers.values()) > (1 - ENOUGH_SCORED) * cases


def ended(
    plan: SweepPlan,
    trial: TrialFold,
    baseline: TrialFold,
    state: TrialState,
    reason: str,
    end_ns: int,
    failure: Failure | None = None,
) -> Trial:
    """Return a trial as it stands at its end. One that has too few scores has failed, however it came to its end, and
    so has one of which `failure` says why.
    """
    failure = failure or (None if state is TrialState.CANCELLED else _too_few(trial))
    if failure is not None:
        state, reason = TrialState.FAILED, ""
    return stands(plan, trial, baseline, state, reason=reason, failure=failure, end_ns=end_ns)


def stands(
    plan: SweepPlan,
    trial: TrialFold,
    baseline: TrialFold,
    state: TrialState,
    *,
    reason: str = "",
    failure: Failure | None = None,
    end_ns: int | None = None,
) -> Trial:
    """Return a trial as it stands, beside the baseline."""
    quality = quality_of(plan)
    scores = by_case(baseline.answers.values(), quality)
    return standing(trial, state, quality, scores, reason=reason, failure=failure, end_ns=end_ns)


def _too_few(trial: TrialFold) -> Failure | None:
    answers = trial.answers.values()
    scored = sum(case.score is not None for case in answers)
    if answers and scored >= ENOUGH_SCORED * len(answers):
        return None
    first = next((case.failure for case in answers if case.failure is not None), None)
    said = f" The first without one said: {first.message}" if first is not None else ""
    return Failure(
        reason=Reason.TOO_FEW_SCORES,
        message=f"{scored} of {len(answers)} cases have a score, too few to compare it by.{said}",
        metadata={"scored": str(scored), "cases": str(len(answers))} | ({"cause": first.reason} if first else {}),
    )
