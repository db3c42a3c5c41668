"""Whether a judgement clears a bar. Nothing is decided by a judge that was not checked against people, or by too few
scores: the answer says why, and what to do.
"""

from collections.abc import Sequence

from whet_server.calibration.standing import Standing
from whet_server.errors import InvalidField, Reason
from whet_server.judge.spec import Asked, GateAnswer, GateDecision, GateRequest, Sums
from whet_server.judge.sums import COMBINED
from whet_server.judging import CalibrationState, CriterionSummary
from whet_server.values import Run, RunState


def chosen(name: str, criteria: Sequence[Asked], sums: Sums) -> tuple[CriterionSummary, tuple[Asked, ...]]:
    """Return what is gated by, and the criteria that it stands on. No name: the only criterion, else the items'
    weighted scores. Raises `InvalidField` for a name that there is not.
    """
    by_name = {summary.criterion: summary for summary in sums.criteria}
    if not name and len(criteria) == 1:
        name = criteria[0].name
    if name in by_name:
        return by_name[name], tuple(asked for asked in criteria if asked.name == name)
    if name not in {"", COMBINED} or sums.combined is None:
        raise InvalidField(("criterion", f"there are: {', '.join(by_name)}"))
    return sums.combined, tuple(asked for asked in criteria if not asked.aside)


def decide(request: GateRequest, measured: CriterionSummary, standings: Sequence[Standing], run: Run) -> GateAnswer:
    """Decide by what was measured. `standings` are those of every judge that had a part in it."""
    refusal = _unfinished(run) or _untrusted(standings) or _thin(request, measured)
    if refusal is not None:
        reason, why = refusal
        return _answer(request, measured, GateDecision.REFUSED, why, reason)
    held = measured.mean.low if request.by_lower_end else measured.mean.value
    if held is None:
        why = "A single score has no interval: judge more items, or hold the mean itself to the bar."
        return _answer(request, measured, GateDecision.REFUSED, why, Reason.TOO_FEW_SCORES)
    what = "The lower end of the mean's interval" if request.by_lower_end else "The mean"
    passed = held >= request.min_mean
    why = (
        f"{what} is {held:.3f} over {measured.scored_items} of {measured.items} items, "
        f"{'at or above' if passed else 'below'} {request.min_mean:g}."
    )
    if measured.simulated:
        why += " A simulated judge had a part in it."
    return _answer(request, measured, GateDecision.PASSED if passed else GateDecision.FAILED, why)


def _unfinished(run: Run) -> tuple[Reason, str] | None:
    if run.state is RunState.RUNNING:
        return Reason.WRONG_STATE, f"{run.run_id} is still under way: gate it when it has ended."
    if run.state is RunState.CANCELLED:
        return Reason.WRONG_STATE, f"{run.run_id} was cancelled: judge anew, and gate that."
    return None


def _untrusted(standings: Sequence[Standing]) -> tuple[Reason, str] | None:
    for standing in standings:
        if standing.state is not CalibrationState.CALIBRATED:
            return standing.error_reason or Reason.JUDGE_UNCALIBRATED, standing.reason
    return None


def _thin(request: GateRequest, measured: CriterionSummary) -> tuple[Reason, str] | None:
    """Say when too few items have a score; without any there is nothing to decide by, whatever was asked for."""
    if measured.scored_items and measured.scored_items >= request.min_scored * measured.items:
        return None
    others = ", ".join(f"{each.count} {each.outcome.value.replace('_', ' ')}" for each in measured.outcomes)
    return Reason.TOO_FEW_SCORES, (
        f"{measured.scored_items} of {measured.items} items have a score, and {request.min_scored:.0%} are needed. "
        f"Verdicts: {others or 'none'}. See to what failed, or lower min_scored."
    )


def _answer(
    request: GateRequest,
    measured: CriterionSummary,
    decision: GateDecision,
    why: str,
    error_reason: Reason | None = None,
) -> GateAnswer:
    return GateAnswer(
        decision=decision, reason=why, error_reason=error_reason, measured=measured, min_mean=request.min_mean
    )
