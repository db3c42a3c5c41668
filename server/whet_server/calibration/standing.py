"""Whether a judge may gate, and what to do when it may not. Pure: calibrations in, a sentence out."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from whet_server.calibration.agreement import Agreement
from whet_server.errors import Reason
from whet_server.judging import CalibrationState, Estimate, Judge, JudgeIdentity, OutcomeCount
from whet_server.values import Value

MIN_ITEMS: Final = 30
"""Items that both people and the judge gave a level: below, the interval of kappa is wider than what it decides."""
MIN_KAPPA: Final = 0.4
"""Where Landis and Koch (1977) let "moderate" agreement begin."""
_DIGEST: Final = 8
"""Digits of a digest that are told."""


class Calibration(Value):
    """A judge compared with people; `proto/whet/v1/calibration.proto` says what each field is."""

    calibration_id: str
    judge: Judge
    judge_digest: str
    rubric_digest: str
    prompt_digest: str
    run_id: str
    criterion: str
    agreements: tuple[Agreement, ...]
    raters: tuple[str, ...] = ()
    outcomes: tuple[OutcomeCount, ...] = ()
    create_ns: int = 0
    simulated: bool = False
    state: CalibrationState | None = None
    reason: str = ""


class KeptCalibration(Value):
    """A calibration and the identity it is bound to, as they are on record."""

    calibration: Calibration
    identity: JudgeIdentity


class Standing(Value):
    """Where a judge stands. `reason`, `error_reason` and `metadata` say why it may not gate, as published; they are
    empty of one that may.
    """

    state: CalibrationState
    reason: str = ""
    error_reason: Reason | None = None
    metadata: dict[str, str] = {}
    calibration: Calibration | None = None


def stand(kept: Sequence[KeptCalibration], identity: JudgeIdentity, *, min_kappa: float = MIN_KAPPA) -> Standing:
    """Return where a judge stands by the workspace's calibrations, newest first."""
    same = next((each for each in kept if each.identity.digest == identity.digest), None)
    if same is not None:
        return _judged_by(same.calibration, identity, min_kappa)
    of_rubric = [each for each in kept if each.identity.rubric == identity.rubric]
    if not of_rubric:
        return _never(kept, identity)
    # The nearest relative tells best what has changed; of equals the newest.
    return _stale(min(of_rubric, key=lambda each: len(changes(each.identity, identity))), identity)


def outdated(standing: Standing, then: JudgeIdentity, now: JudgeIdentity, rubric: str) -> Standing:
    """Return where a judge stands that judged as `then`, by the version `rubric` of a rubric that was named without
    one: its words as they are `now` are meant, and who was checked by others may not gate.
    """
    changed = changes(then, now)
    if not changed or standing.state in {CalibrationState.UNCALIBRATED, CalibrationState.STALE}:
        return standing
    return Standing(
        state=CalibrationState.STALE,
        reason=f"{_name(then)} judged by other words than today's: {_have_changed(changed)}. Judge again and "
        f"calibrate, or name the rubric as {rubric} in the judgement.",
        error_reason=Reason.JUDGE_STALE,
        metadata={"judge_digest": then.digest, "changed": ",".join(changed), "rubric": then.rubric},
        calibration=standing.calibration,
    )


def changes(old: JudgeIdentity, new: JudgeIdentity) -> dict[str, str]:
    """Return what of a judge has changed, each with how."""
    found = {}
    if sorted(old.models) != sorted(new.models):
        found["model"] = f"the model ({', '.join(old.models)} to {', '.join(new.models)})"
    if old.rubric_digest != new.rubric_digest:
        found["rubric"] = (
            f"the text of the rubric {new.rubric} ({_short(old.rubric_digest)} to {_short(new.rubric_digest)})"
        )
    if old.mode is not new.mode:
        found["mode"] = f"the mode ({old.mode} to {new.mode})"
    if old.prompt_digest != new.prompt_digest:
        found["prompt"] = f"the prompt ({_short(old.prompt_digest)} to {_short(new.prompt_digest)})"
    different = [
        f"{name} {_said(getattr(old.parameters, name))} to {_said(getattr(new.parameters, name))}"
        for name in old.parameters.__struct_fields__
        if getattr(old.parameters, name) != getattr(new.parameters, name)
    ]
    if different:
        found["parameters"] = f"the parameters ({', '.join(different)})"
    return found


def _never(kept: Sequence[KeptCalibration], identity: JudgeIdentity) -> Standing:
    others = sorted({each.identity.rubric for each in kept if set(each.identity.models) == set(identity.models)})
    elsewhere = f" That it was checked by {', '.join(others)} says nothing of this rubric." if others else ""
    return Standing(
        state=CalibrationState.UNCALIBRATED,
        reason=f"{_name(identity)} was never checked against people.{elsewhere} Judge items with it, rate at least "
        f"{MIN_ITEMS} of them on the whole, and calibrate.",
        error_reason=Reason.JUDGE_UNCALIBRATED,
        metadata={"judge_digest": identity.digest},
    )


def _stale(nearest: KeptCalibration, identity: JudgeIdentity) -> Standing:
    changed = changes(nearest.identity, identity)
    return Standing(
        state=CalibrationState.STALE,
        reason=f"{_name(identity)} is not the judge that was calibrated ({nearest.calibration.calibration_id}): "
        f"{_have_changed(changed)}. Judge the rated items again with it, and calibrate.",
        error_reason=Reason.JUDGE_STALE,
        metadata={"judge_digest": identity.digest, "changed": ",".join(changed), "rubric": identity.rubric},
        calibration=nearest.calibration,
    )


def _judged_by(calibration: Calibration, identity: JudgeIdentity, min_kappa: float) -> Standing:
    weakness = _weakness(calibration, min_kappa)
    if not weakness:
        return Standing(state=CalibrationState.CALIBRATED, calibration=calibration)
    whole = calibration.agreements[0]
    figure = whole.weighted_kappa.value
    return Standing(
        state=CalibrationState.TOO_WEAK,
        reason=f"{_name(identity)} cannot gate yet: {weakness}",
        error_reason=Reason.JUDGE_TOO_WEAK,
        metadata={"weighted_kappa": "" if figure is None else f"{figure:.3f}", "items": str(whole.items)},
        calibration=calibration,
    )


def _weakness(calibration: Calibration, min_kappa: float) -> str:
    """Return why the calibration is too weak and what to do, or nothing."""
    whole = calibration.agreements[0]
    kappa, run_id = whole.weighted_kappa, calibration.run_id
    if whole.items < MIN_ITEMS:
        lost = f" and {whole.unscored} more were rated but not scored" if whole.unscored else ""
        parts = max((each.items for each in calibration.agreements[1:]), default=0)
        apart = f" (of {parts} a dimension was rated, and not all that make the whole)" if parts > whole.items else ""
        return (
            f"only {whole.items} items were both rated on the whole and scored{lost}{apart}; {MIN_ITEMS} are needed. "
            f"Rate at least {MIN_ITEMS - whole.items} more items of {run_id} and calibrate again."
        )
    if kappa.value is None or kappa.low is None:
        return (
            f"on {whole.items} items people and the judge gave nothing but one level, so agreement means nothing. Rate "
            "items that are better and worse, and calibrate again."
        )
    figures = f"its weighted kappa with people is {_figures(kappa)} on {whole.items} items"
    if kappa.value < min_kappa:
        return (
            f"{figures}, and at least {min_kappa:.2f} is asked for.{_ceiling(whole)} Say in the rubric what the levels "
            "mean where the two differ, or take another model; judge the rated items again and calibrate."
        )
    if kappa.low <= 0:
        more = math.ceil(whole.items * (kappa.value / (kappa.value - kappa.low)) ** -2) - whole.items + 1
        return (
            f"{figures}, an interval that does not exclude chance. Rate about {more} more items of {run_id} and "
            "calibrate again."
        )
    return ""


def _ceiling(whole: Agreement) -> str:
    among = whole.people_alpha.value
    return "" if among is None else f" People agree among themselves by alpha {among:.2f}."


def _figures(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _name(identity: JudgeIdentity) -> str:
    return f"The judge {' + '.join(identity.models)} by the rubric {identity.rubric}"


def _have_changed(changed: Mapping[str, str]) -> str:
    return f"{' and '.join(changed.values())} {'has' if len(changed) == 1 else 'have'} changed since"


def _short(digest: str) -> str:
    return digest[:_DIGEST]


def _said(value: object) -> str:
    return "unset" if value in (None, (), "") else f"{value}"
