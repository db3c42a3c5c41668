import random
import time

import pytest
from tests.server.sweep.ended import SPEC

from whet_server.errors import InvalidField
from whet_server.judging import Estimate
from whet_server.sweep.leaderboard import TrialOrder, Wanted, after, filters, leaderboard
from whet_server.sweeping import Objective, ObjectiveKind, SweepPlan, Trial, TrialState, written

SPACE = SPEC.space
PLAN = SweepPlan(objectives=(Objective(kind=ObjectiveKind.QUALITY),))
BOTH = SweepPlan(objectives=(Objective(kind=ObjectiveKind.QUALITY), Objective(kind=ObjectiveKind.COST)))
COMPLETE, PRUNED, FAILED = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED


def trial(
    number: int,
    quality: float | None = None,
    state: TrialState = COMPLETE,
    cost: float | None = None,
    **settings: float | str,
) -> Trial:
    return Trial(
        number=number,
        state=state,
        quality=Estimate(value=quality),
        cost=cost,
        parameters=written({f"classify.{name}": value for name, value in settings.items()}),
    )


def numbers(trials: list[Trial], plan: SweepPlan = PLAN, wanted: Wanted = Wanted()) -> list[int]:
    return [each.trial.number for each in leaderboard(plan, trials, None, wanted)]


def test_the_best_come_first_those_stopped_early_behind_them_and_those_without_a_score_last() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9, PRUNED), trial(2, 0.7), trial(3, None, FAILED), trial(4, 0.7)]
    assert numbers(trials) == [2, 4, 0, 1, 3]
    assert numbers(trials, wanted=Wanted(order=TrialOrder.NUMBER)) == [0, 1, 2, 3, 4]


def test_the_first_objective_decides_which_is_the_best() -> None:
    cheap = SweepPlan(objectives=(Objective(kind=ObjectiveKind.COST), Objective(kind=ObjectiveKind.QUALITY)))
    trials = [trial(0, 0.9, cost=3.0), trial(1, 0.5, cost=1.0), trial(2, 0.9, cost=None)]
    assert numbers(trials, cheap) == [1, 0, 2]
    assert numbers(trials, wanted=Wanted(order=TrialOrder.COST)) == [1, 0, 2]


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    trials = [
        trial(0, 0.9, cost=3.0),
        trial(1, 0.5, cost=1.0),
        trial(2, 0.5, cost=2.0),
        trial(3, 0.9, cost=3.0),
        trial(4, 0.99, PRUNED, cost=0.1),
    ]
    assert sorted(numbers(trials, BOTH, Wanted(front=True))) == [0, 1, 3]
    assert numbers(trials, PLAN, Wanted(front=True)) == [0]
    shown = leaderboard(BOTH, trials, (2,), Wanted())
    assert [each.trial.number for each in shown if each.trial.front] == [2], "a result's word counts"


@pytest.mark.parametrize(
    ("where", "left"),
    [
        (["classify.temperature<0.5"], [0]),
        (["classify.temperature > 0.2", "quality=0.7"], [1]),
        (["classify.temperature=0.9"], [1]),
        (["classify.model=sim/slow"], [1]),
        (["cost<1"], []),
        (["cases=0"], [0, 1, 2]),
    ],
)
def test_filters_hold_together(where: list[str], left: list[int]) -> None:
    trials = [trial(0, 0.6, temperature=0.1), trial(1, 0.7, temperature=0.9, model="sim/slow"), trial(2, 0.8)]
    assert sorted(numbers(trials, wanted=Wanted(where=filters(where, SPACE)))) == left


def test_a_filter_of_what_is_not_there_names_what_is() -> None:
    with pytest.raises(InvalidField, match=r"there are: classify\.template, .*, quality, cost, latency, cases"):
        filters(["temperature=1"], SPACE)


def test_a_place_stays_where_it_is_while_others_move() -> None:
    trials = [trial(number, number / 10) for number in range(6)]
    first = leaderboard(PLAN, trials, None, Wanted())[:3]
    assert [each.trial.number for each in first] == [5, 4, 3]
    moved = [*trials, trial(6, 0.99), trial(7, 0.15)]
    rest = after(leaderboard(PLAN, moved, None, Wanted()), first[-1].token)
    assert [each.trial.number for each in rest] == [2, 7, 1, 0], "nothing twice, nothing lost"
    with pytest.raises(InvalidField):
        after(first, "no token")


def test_ten_thousand_trials_are_ordered_and_filtered_at_once() -> None:
    chance = random.Random(5)
    trials = [
        trial(number, chance.random(), cost=chance.random(), temperature=chance.random()) for number in range(10_000)
    ]
    start = time.perf_counter()
    shown = leaderboard(BOTH, trials, None, Wanted(where=filters(["classify.temperature<0.5"], SPACE)))
    assert 4_000 < len(shown) < 6_000
    assert time.perf_counter() - start < 1.0
