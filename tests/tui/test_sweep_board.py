"""The trials of a sweep as the terminal keeps them: folded, in order, filtered."""

import asyncio
import random
from dataclasses import replace

import pytest
from tests.tui import sweep_story as story

from whet_tui import sweep_board
from whet_tui.judging_values import Estimate
from whet_tui.sweep_board import Board, Order
from whet_tui.sweep_values import Goal, Objective, Trial, TrialState
from whet_tui.trial_filter import FilterError, filtered

NAMES = [each.name for each in story.plan.space]


def board(count: int = 40, goal: Goal = Goal.QUALITY) -> Board:
    made = Board(Objective(kind=goal))
    made.take(story.trials(count))
    return made


def numbers(made: Board) -> list[int]:
    return [int(key) for key in made.keys]


def passing(words: str, count: int = 40) -> list[int]:
    passes = filtered(words, NAMES)
    return [each.number for each in story.trials(count) if passes(each)]


def test_the_best_stands_first_and_what_was_stopped_early_behind_what_was_not() -> None:
    made = board()
    states = [made.trials[number].state for number in numbers(made)]
    assert numbers(made)[0] == 7
    assert states == sorted(states, key=[TrialState.COMPLETE, TrialState.PRUNED].index)
    values = [made.trials[number].quality.value or 0.0 for number in numbers(made)[:27]]
    assert values == sorted(values, reverse=True)


def test_of_costs_the_least_is_the_best() -> None:
    made = board(goal=Goal.COST)
    assert numbers(made)[0] == 0
    assert numbers(made)[1] == 1


@pytest.mark.parametrize("order", Order)
async def test_trials_told_in_any_order_stand_as_if_all_had_been_sorted(order: Order) -> None:
    drawn = random.Random(3)
    told = [each for number in range(200) for each in (story.running_trial(number), story.trial(number))]
    made = Board(Objective())
    await made.arrange(order, lambda _: True, only_front=False)
    shuffled = sorted(told, key=lambda each: (each.number + drawn.random() * 20, each.end_ns))
    for each in shuffled:
        made.take([each])
    fresh = Board(Objective())
    fresh.take(story.trials(200))
    await fresh.arrange(order, lambda _: True, only_front=False)
    assert numbers(made) == numbers(fresh)
    assert made.ended == fresh.ended == 200


async def test_what_changes_while_all_are_put_in_order_stands_where_it_belongs() -> None:
    made = board(2_000)
    arranging = asyncio.create_task(made.arrange(Order.BEST, lambda _: True, only_front=False))
    await asyncio.sleep(0)
    best = replace(story.trial(3), quality=Estimate(value=0.99))
    made.take([best, story.running_trial(2_000)])
    await arranging
    assert numbers(made)[0] == 3
    assert sorted(numbers(made)) == list(range(2_001))


async def test_only_the_front_is_listed_where_that_is_asked_for() -> None:
    made = board()
    made.front = {0, 7}
    await made.arrange(Order.NUMBER, lambda _: True, only_front=True)
    assert numbers(made) == [7, 0]


def test_a_trial_that_has_ended_does_not_run_again_and_replicates_change_its_standing() -> None:
    made = board()
    made.take([story.running_trial(7)])
    assert made.trials[7].state is TrialState.COMPLETE
    made.take([replace(story.trial(7), quality=Estimate(value=0.1))])
    assert numbers(made)[26] == 7
    assert made.ended == 40


def test_there_is_an_end_to_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_board, "MOST", 10)
    made = board(40)
    assert (len(made.trials), made.left_out) == (10, 30)


def test_a_filter_compares_measures_and_parameters_and_finds_words() -> None:
    assert passing("quality>0.89") == [7]
    assert passing("cost<0.00022") == [0, 1]
    assert passing("latency<0.42 cases=60") == [0, 1]
    assert passing("answer.model=sim/small answer.temperature<0.1") == [0, 38]
    assert passing("answer.examples.count=7") == [7, 16, 25, 34]
    assert passing("pruned large") == [5, 11, 17, 23, 29, 35]
    assert passing("beyond", 6) == [2, 5]
    assert passing("") == list(range(40))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("speed>1", "there are quality, cost, latency, cases, answer.model"),
        ("quality>good", "good is no number"),
        ("answer.model<3x", "3x is no number"),
        ("quality=", "compared with"),
    ],
)
def test_what_is_no_filter_is_said_in_words(words: str, why: str) -> None:
    with pytest.raises(FilterError, match=why.replace(".", r"\.")):
        filtered(words, NAMES)


def test_a_trial_without_a_value_passes_no_comparison() -> None:
    passes = filtered("quality<1", NAMES)
    assert not passes(Trial(number=1))
