"""A sweep's finding in words: one plain sentence or two, with the figures that it stands on."""

from collections.abc import Sequence
from typing import Final

from whet_server.judging import Estimate
from whet_server.sweep.measure import higher_is_better
from whet_server.sweep.racing import conditions
from whet_server.sweep.versus import Field, Versus
from whet_server.sweeping import BASELINE, BestPoint, Objective, ObjectiveKind, SweepVerdict

FEWEST_TRIALS: Final = 9
"""Ended trials below which nothing is said about convergence: a third is three then."""


def finding(field: Field, verdict: SweepVerdict, best: Versus | None, lift: Estimate) -> str:
    """Return what was found. `lift` is in the first objective's unit, as it is on the record."""
    if best is None:
        return _nothing(field)
    if not best.held:
        return (
            f"Undecided: no trial that has enough scores keeps the conditions ({_conditions(field)}); "
            f"trial {best.number} comes nearest, with {_figures(field, best, lift)}."
        )
    match verdict:
        case SweepVerdict.BETTER:
            kept = f" It keeps the conditions: {_conditions(field)}." if conditions(field.plan) else ""
            return (
                f"Trial {best.number} is better than the baseline: {_figures(field, best, lift)}, "
                f"p {_p(field.p_value(best.number))} {_corrected(field)}.{kept}"
            )
        case SweepVerdict.NO_DIFFERENCE:
            return _no_difference(field, best, lift)
        case _:
            return _undecided(field, best, lift)


def convergence(history: Sequence[BestPoint], ended: int) -> tuple[bool, str]:
    """Return whether a search has converged, and what that means, in a sentence."""
    if not history or ended < FEWEST_TRIALS:
        return False, f"Too few trials have ended ({ended}) to say whether more would help."
    last, quiet = history[-1], ended - history[-1].ended
    if quiet >= ended / 3:
        return True, (
            f"The best came as number {last.ended} of {ended} trials, and the {quiet} after it brought nothing: "
            "more of this kind are unlikely to help."
        )
    return False, f"The best came as number {last.ended} of {ended} trials, in their last third: more may still help."


def _nothing(field: Field) -> str:
    scored = len(field.values(BASELINE))
    if not field.scored:
        return "Nothing has a score, so there is nothing to compare."
    if not scored:
        return "The baseline has no score, so there is nothing to compare with."
    if not field.compared:
        return f"Only the baseline has scores, on {_cases(scored)}: there is nothing to compare it with."
    return (
        f"Undecided: none of the {len(field.compared)} trials beside the baseline came to its end "
        "with scores on enough of the cases."
    )


def _no_difference(field: Field, best: Versus, lift: Estimate) -> str:
    if not any(field.lifts(best.number)):
        return (
            f"No difference: trial {best.number}, the nearest of {len(field.compared)}, "
            f"came out like the baseline on all of {_cases(best.pairs)}."
        )
    return (
        f"No difference worth having: trial {best.number}, the nearest of {len(field.compared)}, has "
        f"{_figures(field, best, lift)}; less than {_amount(field.first, field.worth)} better counts as none."
    )


def _undecided(field: Field, best: Versus, lift: Estimate) -> str:
    if best.pairs < 2:
        return (
            f"Undecided: trial {best.number} and the baseline have {_cases(best.pairs)} in common, which says nothing."
        )
    p_value = field.p_value(best.number)
    start = f"Undecided: trial {best.number} has {_figures(field, best, lift)}"
    if p_value > field.alpha:
        return f"{start}, which may be chance (p {_p(p_value)} {_corrected(field)})."
    return f"{start}, which is beyond chance, but whether it keeps the conditions ({_conditions(field)}) is open."


def _figures(field: Field, best: Versus, lift: Estimate) -> str:
    """Such as `0.81 against 0.74, a difference of +0.07 [+0.02, +0.12] on 120 cases`."""
    mine, theirs = field.values(best.number), field.values(BASELINE)
    both = [case_id for case_id in mine if case_id in theirs]
    means = (sum(abs(of[each]) for each in both) / len(both) for of in (mine, theirs))
    one, other = (_amount(field.first, each) for each in means)
    interval = (
        "" if lift.low is None or lift.high is None else f" [{_signed(field, lift.low)}, {_signed(field, lift.high)}]"
    )
    return (
        f"{one} against {other}, a difference of {_signed(field, lift.value or 0.0)}{interval} on {_cases(best.pairs)}"
    )


def _conditions(field: Field) -> str:
    return " and ".join(_condition(each) for each in conditions(field.plan))


def _condition(condition: Objective) -> str:
    margin = condition.margin or 0.0
    if higher_is_better(condition):
        return f"{condition.criterion or 'quality'} at most {margin:g} below the baseline's"
    return f"{condition.kind} at most {100 * margin:g} % above the baseline's"


def _corrected(field: Field) -> str:
    many = field.comparisons
    if many <= 1:
        return "with one comparison"
    planned = "" if many == len(field.compared) else ", as many as were planned"
    return f"after correction for {many} comparisons{planned}"


def _cases(count: int) -> str:
    return f"{count} case{'' if count == 1 else 's'}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.2g}"


def _amount(objective: Objective, value: float) -> str:
    match objective.kind:
        case ObjectiveKind.COST:
            return f"{value:.3g} USD"
        case ObjectiveKind.LATENCY:
            return f"{value:.3g} s"
        case _:
            return f"{value:.3f}"


def _signed(field: Field, value: float) -> str:
    return ("-" if value < 0 else "+") + _amount(field.first, abs(value))
