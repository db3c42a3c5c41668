"""Which cases to ask again, once the search is over: only where another answer can decide something.

Answers vary; a case's mean over several answers varies less. Rounds double the answers to each case (1, 2, 4, ... up to
`1 + replicates`). Each round keeps the trials that may still be the best, at most the better half of those of the round
before and at least two, the leader and its nearest rival: sequential halving (Karnin, Koren and Somekh 2013), which
ends as a top-two allocation (Russo 2016). The baseline is asked as often as they are, on all cases, so that no case is
favoured for how its first answer came out.

It ends when a trial is better beyond chance, when the rounds are spent, and when asking again cannot decide it: the
leader's lead has nothing worth having in reach, or answers do not vary.
"""

from collections.abc import Iterable, Sequence
from math import ceil, sqrt
from statistics import fmean, variance
from typing import Final

from whet_server.sweep.fold import SweepFold
from whet_server.sweep.racing import objectives
from whet_server.sweep.versus import Field, Versus, looks
from whet_server.sweeping import BASELINE, SweepPlan, TrialCase

TOP: Final = 2
"""The leader and its nearest rival."""
IN_QUESTION: Final = 1.5
"""Standard errors: a trial so far behind the leader is out, and a leader whose lift plus so many is not worth having
has nothing to be found."""


def next_round(plan: SweepPlan, fold: SweepFold, order: Sequence[str]) -> tuple[tuple[int, str, int], ...]:
    """Return what to ask next as (trial, case, sample), all of it before this is called again; () when nothing more is
    decided by asking again. `order` is all cases in their order.
    """
    if not plan.racing.replicates or len(objectives(plan)) > 1:
        return ()
    field = Field(plan, fold)
    asked = field.eligible[0].samples if field.eligible else 0
    upcoming = next((each for each in looks(plan.racing) if each > asked), 0)
    if not asked or not upcoming or _pointless(field) or field.winner():
        return ()
    numbers = (BASELINE, *sorted(each.number for each in _in_question(field, asked)))
    return tuple(
        (number, case_id, sample)
        for number in numbers
        for case_id in order
        for sample in range(asked + 1, upcoming + 1)
    )


def _in_question(field: Field, asked: int) -> Sequence[Versus]:
    leader, *others = [each for each in field.eligible if each.samples == asked]
    near = [each for each in others if _upper(field.lifts(each.number, leader.number)) > 0]
    return [leader, *near][: max(TOP, ceil((1 + len(others)) / 2))]


def _pointless(field: Field) -> bool:
    leader = field.eligible[0]
    steady = leader.samples > 1 and all(_steady(field.answers(each)) for each in (leader.number, BASELINE))
    return steady or leader.lift <= 0 or _upper(field.lifts(leader.number)) <= field.worth


def _steady(answers: Iterable[TrialCase]) -> bool:
    """Whether answers came out alike, however often the cases were asked."""
    first: dict[str, float | None] = {}
    return all(first.setdefault(each.case_id, each.score) == each.score for each in answers)


def _upper(differences: Sequence[float]) -> float:
    """The mean and `IN_QUESTION` standard errors on top; infinity for fewer than two."""
    if len(differences) < 2:
        return float("inf")
    return fmean(differences) + IN_QUESTION * sqrt(variance(differences) / len(differences))
